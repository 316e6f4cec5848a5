"""`sgd`, `finetune`, `transfer`: classifiers trained by gradient descent, through the encoder or with it.

S stream (see similarity.py), Q query.
"""

import copy
import json

import torch
from torch import Tensor

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.evaluate.classifier import FINETUNE, LINEAR, Classifier, Recipe, classify, train_classifier
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks.accuracy import accuracy
from cmd_tune.evaluate.tasks.base import EncoderUnderTest, Estimate, Measure, Progress, Task
from cmd_tune.files import write_text


def sgd(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The paper's linear evaluation: SGD for 80 epochs through the frozen encoder."""
    return _trained(subject, LINEAR, "linear_paper", "linear, 80 epochs", progress)


def finetune(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The whole network trained on all labels."""
    return _trained(subject, FINETUNE, "finetune", "fine-tuned", progress)


def transfer(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The whole network trained on the labels of another data set: `data` is that one."""
    return _trained(subject, FINETUNE, "transfer", "transferred", progress)


def _trained(subject: EncoderUnderTest, recipe: Recipe, key: str, title: str, progress: Progress) -> list[Measure]:
    predicted_SQ, best_S = train_and_classify(subject, recipe, key, progress)
    streams = stream_names(subject.data.settings.modalities, concatenated=recipe.frozen)
    measures = [accuracy(key, title, predicted_SQ, subject.data, streams)]
    if best_S:
        best = {name: Estimate(value) for name, value in zip(streams, best_S, strict=True)}
        measures.append(Measure(f"{key}_official_best_of_test", "official_best_of_test", best))
    return measures


def train_and_classify(
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


SGD = Task(sgd, has_curve=True, draws=True)
FINETUNED = Task(finetune, has_curve=True, draws=True)
TRANSFER = Task(transfer, has_curve=True, draws=True, other_data=True)
