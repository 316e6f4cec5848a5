"""The evaluation tasks: each takes an encoder with its data and returns measures on the protocol's test set.

S stream (see similarity.py), M modality, Q query, G gallery, F feature.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.evaluate.classifier import FINETUNE, LINEAR, Classifier, LabelledClips, Recipe, classify, train_classifier
from cmd_tune.evaluate.features import extract_features
from cmd_tune.evaluate.intervals import Groups, group_queries
from cmd_tune.evaluate.knn import vote_predictions
from cmd_tune.evaluate.label_subsets import stratified_subset
from cmd_tune.evaluate.linear import linear_stream_predictions
from cmd_tune.evaluate.retrieval import rank, recall_ks
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tally import count_hits
from cmd_tune.files import write_text
from cmd_tune.model.encoders import Encoder

KNN_KS = (1, 5, 10, 20)
SEMI_SHARES, SEMI_RUNS = (1, 5, 10, 20), 5  # percent of the labels; subsets of each size

Progress = Callable[[int, int], None]  # (done, in all)


@dataclass(frozen=True)
class Estimate:
    """A score in percent. low, high: its 95 % interval, with test clips grouped by subject. std: over runs."""

    value: float
    low: float | None = None
    high: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class Measure:
    """One line of a table. key: its name in metrics. predicted: labels of the queries by stream, if it predicts any."""

    key: str
    title: str
    estimates: dict[str, Estimate]
    predicted: dict[str, list[int]] | None = None


@dataclass(frozen=True)
class EncoderUnderTest:
    """Encoders to score on the test set of `data`.

    folder: keeps the finished parts of long tasks, so that an interrupted task continues. best_of_test: also report the
    best test accuracy over epochs, as public code does; that is selection on the test set.
    """

    encoders: Encoder
    data: LabelledClips
    folder: Path
    seed: int = 0
    best_of_test: bool = False

    @property
    def device(self) -> torch.device:
        return self.encoders.device

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:
        """Features of the training set and of the queries, (M, G, F) and (M, Q, F)."""
        data, settings = self.data, self.data.settings
        clips_N = np.concatenate((data.train_N, data.query_N))
        features_MNF = extract_features(
            self.encoders, data.store, clips_N, modalities=settings.modalities, frames=settings.frames
        )
        gallery_MGF, query_MQF = features_MNF.split([len(data.train_N), len(data.query_N)], dim=1)
        return gallery_MGF, query_MQF

    @property
    def labels(self) -> tuple[Tensor, Tensor]:
        """Labels of the training set and of the queries."""
        return self.data.labels(self.data.train_N, self.device), self.data.labels(self.data.query_N, self.device)


def query_groups(data: LabelledClips) -> Groups:
    """The queries, grouped by subject."""
    return group_queries(data.store.subject_N[data.query_N])


def accuracy(key: str, title: str, predicted_SQ: Tensor, data: LabelledClips, streams: Sequence[str]) -> Measure:
    """The share of right queries, in percent, with its interval."""
    predicted_SQ = predicted_SQ.cpu()
    hits_SQ = predicted_SQ == data.labels(data.query_N, predicted_SQ.device)
    estimates = _shares(hits_SQ, data, streams)
    predicted = dict(zip(streams, predicted_SQ.tolist(), strict=True))
    return Measure(key, title, estimates, predicted)


def knn(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """Votes of the nearest training clips, by cosine."""
    label_G, _ = subject.labels
    ks = [k for k in KNN_KS if k <= len(label_G)]
    streams = stream_names(subject.data.settings.modalities)
    votes = vote_predictions(*subject.features, label_G, ks)
    measures = {
        k: accuracy("knn" if k == 1 else f"knn{k}", f"{k}-NN", predicted_SQ, subject.data, streams)
        for k, predicted_SQ in votes.items()
    }
    return [measure if k == 1 else replace(measure, predicted=None) for k, measure in measures.items()]


def solved(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """A linear probe solved on features extracted once."""
    label_G, _ = subject.labels
    predicted_SQ = linear_stream_predictions(*subject.features, label_G)
    streams = stream_names(subject.data.settings.modalities)
    return [accuracy("linear", "linear, solved", predicted_SQ, subject.data, streams)]


def sgd(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The paper's linear evaluation: SGD for 80 epochs through the frozen encoder."""
    return _trained(subject, LINEAR, "linear_paper", "linear, 80 epochs", progress)


def finetune(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The whole network trained on all labels."""
    return _trained(subject, FINETUNE, "finetune", "fine-tuned", progress)


def transfer(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The whole network trained on the labels of another data set: `data` is that one."""
    return _trained(subject, FINETUNE, "transfer", "transferred", progress)


def semi(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The whole network trained on a share of the labels; mean and standard deviation over subsets."""
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
            predicted_SQ, _ = _train_and_classify(part, FINETUNE, f"semi{share}-{run}", _later(progress, before, total))
            accuracies.append(100 * (predicted_SQ == label_Q).float().mean(1))
        values_RS = torch.stack(accuracies)
        estimates = {
            name: Estimate(value, std=std)
            for name, value, std in zip(streams, values_RS.mean(0).tolist(), values_RS.std(0).tolist(), strict=True)
        }
        measures.append(Measure(f"semi{share}", f"{share} % of labels", estimates))
    return measures


def retrieval(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """Mean average precision, and recall@k: how often a clip of the query's class is among the first k."""
    label_G, label_Q = subject.labels
    streams = stream_names(subject.data.settings.modalities)
    ranking = rank(*subject.features, label_G, label_Q)
    precision_S = (100 * ranking.average_precision_SQ.mean(1)).tolist()
    means = {name: Estimate(value) for name, value in zip(streams, precision_S, strict=True)}
    measures = [Measure("retrieval_map", "retrieval mAP", means)]
    for k in recall_ks(len(label_G)):
        shares = _shares(ranking.hits(k).cpu(), subject.data, streams)
        measures.append(Measure(f"retrieval_recall{k}", f"recall@{k}", shares))
    return measures


TASKS: dict[str, Callable[[EncoderUnderTest, Progress], list[Measure]]] = {
    "knn": knn,
    "solved": solved,
    "sgd": sgd,
    "semi": semi,
    "finetune": finetune,
    "transfer": transfer,
    "retrieval": retrieval,
}
DEFAULT_TASKS = ("knn", "solved")
CURVES = ("sgd", "finetune", "transfer")  # tasks that have a test accuracy of each epoch
RANDOM = (*CURVES, "semi")  # tasks that draw random numbers, by --seed


OLD_NAMES = {"fast": "solved", "linear": "sgd"}  # of tasks in 0.1.0, which commands and kept evaluations may use


def current_name(task: str) -> str:
    """A task's name in TASKS: for an old name the new one, else the name itself."""
    return OLD_NAMES.get(task, task)


def _later(progress: Progress, before: int, total: int) -> Progress:
    """A progress function for a later part of the work, before which `before` units are done."""
    return lambda done, _: progress(before + done, total)


def _shares(hits_SQ: Tensor, data: LabelledClips, streams: Sequence[str]) -> dict[str, Estimate]:
    hits = {name: hit_Q.numpy() for name, hit_Q in zip(streams, hits_SQ, strict=True)}
    tally = count_hits(query_groups(data), hits)
    return {name: Estimate(tally.percent(name), *(tally.interval(name) or ())) for name in streams}


def _trained(subject: EncoderUnderTest, recipe: Recipe, key: str, title: str, progress: Progress) -> list[Measure]:
    predicted_SQ, best_S = _train_and_classify(subject, recipe, key, progress)
    streams = stream_names(subject.data.settings.modalities, concatenated=recipe.frozen)
    measures = [accuracy(key, title, predicted_SQ, subject.data, streams)]
    if best_S:
        best = {name: Estimate(value) for name, value in zip(streams, best_S, strict=True)}
        measures.append(Measure(f"{key}_official_best_of_test", "official_best_of_test", best))
    return measures


def _train_and_classify(
    subject: EncoderUnderTest, recipe: Recipe, name: str, progress: Progress
) -> tuple[Tensor, list[float]]:
    """Predicted labels (S, Q), and the best test accuracy over epochs of each stream, if it is to be known.

    Finished parts are kept in the folder of the EncoderUnderTest, and not repeated.
    """
    result = subject.folder / f"{name}.json"
    if not result.exists():
        checkpoint = subject.folder / f"{name}.pt"
        data = subject.data
        key = (subject.seed, name)
        classes = int(data.store.label_N[data.train_N].max()) + 1
        classifier = Classifier(
            subject.encoders if recipe.frozen else copy.deepcopy(subject.encoders),
            classes,
            joined=recipe.frozen,
            generator=keyed_generator(*key, "initial values"),
        ).to(subject.device)
        label_Q = subject.labels[1]

        def after_epoch(epoch: int) -> list[float]:
            progress(epoch, recipe.epochs)
            if not subject.best_of_test:
                return []
            return (100 * (classify(classifier, data) == label_Q).float().mean(1)).tolist()

        curve = train_classifier(classifier, data, recipe, key=key, checkpoint=checkpoint, after_epoch=after_epoch)
        best_S = [max(values) for values in zip(*curve, strict=True)]
        predicted_SQ = classify(classifier, data).cpu()
        write_text(result, json.dumps({"predicted": predicted_SQ.tolist(), "best": best_S}))
        checkpoint.unlink(missing_ok=True)
    kept = json.loads(result.read_text(encoding="utf-8"))
    return torch.tensor(kept["predicted"]), kept["best"]
