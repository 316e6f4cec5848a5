"""`semi`: the whole network trained on a share of the labels; mean and standard deviation over subsets.

S stream (see similarity.py), R run, Q query, G gallery.
"""

from dataclasses import replace

import torch

from cmd_tune.evaluate.classifier import FINETUNE
from cmd_tune.evaluate.label_subsets import stratified_subset
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks.base import EncoderUnderTest, Estimate, Measure, Progress, Task
from cmd_tune.evaluate.tasks.trained import train_and_classify

SEMI_SHARES, SEMI_RUNS = (1, 5, 10, 20), 5  # percent of the labels; subsets of each size


def semi(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """A measure for each share of the labels."""
    data = subject.data
    measures: list[Measure] = []
    label_G, label_Q = data.store.label_N[data.train_N], subject.labels[1].cpu()
    streams = stream_names(data.settings.modalities, concatenated=False)
    total = len(SEMI_SHARES) * SEMI_RUNS * FINETUNE.epochs
    for share in SEMI_SHARES:
        accuracies = []
        for run in range(SEMI_RUNS):
            few = data.train_N[stratified_subset(label_G, share / 100, subject.seed, share, run)]
            part = replace(subject, data=replace(data, train_N=few))
            before = (SEMI_RUNS * len(measures) + run) * FINETUNE.epochs
            predicted_SQ, _ = train_and_classify(part, FINETUNE, f"semi{share}-{run}", _later(progress, before, total))
            accuracies.append(100 * (predicted_SQ == label_Q).float().mean(1))
        values_RS = torch.stack(accuracies)
        estimates = {
            name: Estimate(value, std=std)
            for name, value, std in zip(streams, values_RS.mean(0).tolist(), values_RS.std(0).tolist(), strict=True)
        }
        measures.append(Measure(f"semi{share}", f"{share} % of labels", estimates))
    return measures


def _later(progress: Progress, before: int, total: int) -> Progress:
    """A progress function for a later part of the work, before which `before` units are done."""
    return lambda done, _: progress(before + done, total)


SEMI = Task(semi, draws=True)
