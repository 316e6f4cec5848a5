"""`python run.py DEVICE_LIBRARY STORE`: training, scores and fine-tuning on the CPU and on the second device, as JSON.

A process of its own: a device is there for good once it is registered.
"""

import ctypes
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cmd_tune.data.splits import split_store
from cmd_tune.data.store import open_store
from cmd_tune.data.views.modalities import MODALITIES
from cmd_tune.evaluate.classifier import FINETUNE, LINEAR, Classifier, LabelledClips, classify, train_classifier
from cmd_tune.evaluate.scores import encoder_scores
from cmd_tune.evaluate.tasks import TASKS, EncoderUnderTest
from cmd_tune.settings import make_settings
from cmd_tune.train.loop import build_batches, build_optimizer, build_pretrainer, objective_at
from cmd_tune.train.step import TrainingStep, means_of

CPU = torch.device("cpu")
STEPS = 3
SMALL = {
    "hidden_size": 8,
    "embedding_size": 8,
    "layers": 2,
    "frames": 8,
    "batch_size": 8,
    "queue_size": 20,
    "topk": 6,
    "crop_min_frames": 4,
}


def second_device(library: ctypes.CDLL) -> torch.device:
    module = types.ModuleType("torch.second")
    module.is_available = lambda: True
    module.is_initialized = lambda: True
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module._is_in_bad_fork = lambda: False
    torch.utils.rename_privateuse1_backend("second")
    torch._register_device_module("second", module)
    library.start()
    return torch.device("second:0")


def train(settings, store, device, crossed):
    """A few steps: their totals, the model, and how often each crossed between the devices: (views, the rest)."""
    pretrainer = build_pretrainer(settings, store.width).to(device)
    pretrainer.objective = objective_at(settings, 1)
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    take = TrainingStep(pretrainer, optimizer, lambda *views: views, device)
    batches = build_batches(settings, store, np.arange(len(store)), device)
    crossings, order = [], batches.epoch(1)
    for _ in range(STEPS):
        before = crossed()
        query_MBTX, key_MBTX = next(order)
        made = crossed()
        take((query_MBTX, key_MBTX), settings.learning_rate)
        crossings.append((made - before, crossed() - made))
    return means_of(take.sums, STEPS, pretrainer.objective, settings.modalities), pretrainer, crossings


def evaluate(settings, store, split, encoders, folder):
    """Scores of validation; of the test set votes, probes, ranks and two epochs of fine-tuning."""
    scores = encoder_scores(encoders, store, split.validation, settings, prefix="val")
    data = LabelledClips(store, settings, split.test[0].gallery_N, split.test[0].query_N)
    subject = EncoderUnderTest(encoders, data, folder)
    for word in ("knn", "solved", "retrieval"):
        for measure in TASKS[word].measure(subject, lambda done, total: None):
            scores |= {f"{measure.key}/{stream}": estimate.value for stream, estimate in measure.estimates.items()}
    classes, generator = int(store.label_N.max()) + 1, torch.Generator().manual_seed(0)
    label_Q = data.labels(data.query_N, subject.device)
    for name, recipe in (("probed", LINEAR), ("fine-tuned", FINETUNE)):
        classifier = Classifier(encoders, classes, joined=True, generator=generator).to(subject.device)
        train_classifier(classifier, data, replace(recipe, epochs=2), key=(0, "second"))
        scores[name] = 100 * (classify(classifier, data) == label_Q).float().mean().item()
    return scores


def main(library_path: Path, store_path: Path) -> None:
    library = ctypes.CDLL(str(library_path))
    device = second_device(library)
    store = open_store(store_path)
    split = split_store(store, "xview")[1]
    try:
        torch.ones(3, device=device) + torch.ones(3)
    except RuntimeError as error:
        refused = str(error)
    before = library.crossed()
    torch.ones(2, device=device).new_tensor([1.0, 2.0])
    told: dict = {"refused": refused, "seen": library.crossed() - before, "runs": []}
    for changes in (
        {"objective": "cmd", "optimizer": "adamw", "modalities": tuple(MODALITIES)},
        {"objective": "cmd", "distillation": "consensus", "precision": "bfloat16"},
        {"objective": "mcl", "optimizer": "sgd"},
        {"objective": "crossclr"},
        {"objective": "base"},
    ):
        settings = make_settings("quick", ("test", SMALL | changes))
        run = {}
        for where in (CPU, device):
            near = replace(store, rows_FX=store.rows_FX.to(where))
            totals, pretrainer, crossings = train(settings, near, where, library.crossed)
            run[where.type] = {"totals": totals, "crossings": crossings}
            if changes["objective"] == "cmd":
                run[where.type] |= {"scores": evaluate(settings, near, split, pretrainer.online, store_path.parent)}
        told["runs"].append(run)
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
