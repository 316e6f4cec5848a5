"""One pretraining run with its validation: what a trial does, and what `cmd_tune pretrain` does."""

import gc
from dataclasses import dataclass
from pathlib import Path

import torch

from cmd_tune.allocator import keep_freed_memory
from cmd_tune.config import Settings
from cmd_tune.data.splits import Split, split_store
from cmd_tune.data.store import Store, open_store
from cmd_tune.evaluate.scores import Scores, encoder_scores, raw_knn_scores
from cmd_tune.model.encoder import Encoders
from cmd_tune.train.checkpoint import load_checkpoint
from cmd_tune.train.loop import CHECKPOINT, Report, build_pretrainer, pretrain, round_products


@dataclass(frozen=True)
class DataSource:
    """A store and the protocol it is seen under. Every process opens the same memory map."""

    path: Path
    protocol: str

    def open(self) -> tuple[Store, Split]:
        store = open_store(self.path)
        return store, split_store(store, self.protocol)[1]


def device_here() -> torch.device:
    """The GPU this process was given, by its number, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def run(settings: Settings, source: DataSource, folder: Path, report: Report) -> None:
    """Pretrain, resumable in `folder`, with validation scores in the reports."""
    keep_freed_memory()
    device = device_here()
    if device.type == "cuda":  # what the run before this one left on the card would count as taken
        gc.collect()
        torch.cuda.empty_cache()
    store, split = source.open()
    store = store.near(device)

    def validate(online: Encoders) -> Scores:
        return encoder_scores(online, store, split.validation, settings, prefix="val")

    pretrain(settings, store, split.pretrain_N, folder=folder, evaluate=validate, report=report, device=device)


def baseline_scores(settings: Settings, source: DataSource) -> tuple[Scores, Scores]:
    """(raw-skeleton 1-NN, untrained encoder) on validation and test."""
    round_products(settings)
    store, split = source.open()
    untrained = build_pretrainer(settings, store.width).online.to(device_here())
    raw: Scores = {}
    scores: Scores = {}
    for prefix, rounds in (("val", split.validation), ("test", split.test)):
        raw |= raw_knn_scores(store, rounds, modalities=settings.modalities, prefix=prefix)
        scores |= encoder_scores(untrained, store, rounds, settings, prefix=prefix)
    return raw, scores


def query_counts(source: DataSource) -> dict[str, int]:
    """Clips behind an accuracy of "val" and of "test"."""
    _, split = source.open()
    return {
        name: sum(len(r.query_N) for r in rounds) for name, rounds in (("val", split.validation), ("test", split.test))
    }


def test_scores(settings: Settings, source: DataSource, folder: Path) -> Scores:
    """The test set's scores of the last checkpoint in `folder`: for finalists, at the last epoch."""
    round_products(settings)
    store, split = source.open()
    pretrainer = build_pretrainer(settings, store.width)
    pretrainer.load_state_dict(load_checkpoint(folder / CHECKPOINT)["pretrainer"])
    return encoder_scores(pretrainer.online.to(device_here()), store, split.test, settings, prefix="test")
