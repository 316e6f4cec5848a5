"""Pretrains one configuration with validation, scores it and its baselines: for a trial, and for `pretrain`."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from cmd_tune.compute.allocator import keep_freed_memory
from cmd_tune.compute.device import device_here
from cmd_tune.data.splits import Holdout, remarks
from cmd_tune.evaluate.scores import Scores, encoder_hits, encoder_scores, percent_right, raw_knn_hits, tally_of
from cmd_tune.evaluate.tally import write_tally
from cmd_tune.model.encoders import Encoder
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.failures import named_failures
from cmd_tune.settings import Settings
from cmd_tune.train.distributed import world
from cmd_tune.train.fused import FusedPrograms
from cmd_tune.train.loop import Recall, Report, build_pretrainer, pretrain, round_products
from cmd_tune.train.precision import warn_of_slow_precision
from cmd_tune.train.saved_checkpoint import open_saved
from cmd_tune.train.step import steps_alone

TEST_SCORES = "test.json"  # in the folder of a run or trial that was scored on the test set
# Right answers on the test set by subject: a finalist's in its folder, the baselines' in the run's.
TEST_TALLY, RAW_TALLY, UNTRAINED_TALLY = "test_by_subject.json", "raw_by_subject.json", "untrained_by_subject.json"


@dataclass(frozen=True)
class Conditions:
    """The data that a search measures on.

    queries: numbers of clips that accuracies of "val" and "test" are over. pretrained, training: numbers of clips that
    trials pretrain on, and that the protocol gives. partial: how its numbers of training and test clips differ from
    the published ones; empty if they do not, or if none are published. normalization: the family of the clips; empty
    if it is not known.
    """

    dataset: str
    protocol: str
    queries: Mapping[str, int]
    pretrained: int = 0
    training: int = 0
    partial: str = ""
    normalization: str = ""


def run(
    settings: Settings,
    source: DataSource,
    folder: Path,
    report: Report,
    recall: Recall | None = None,
    *,
    test: bool = False,
    programs: FusedPrograms | None = None,
) -> None:
    """Pretrain, from the checkpoint in `folder` if any, with validation scores in reports, if clips are held out.

    recall: as the loop's. test: whether the last report has scores on the test set, too; the right answers are then
    written into `folder`. programs: take the steps, and those of others that run in this process.
    """
    keep_freed_memory()
    device = device_here()
    if device.type == "cuda" and not programs:  # what the run before this one left on the card would count as taken
        gc.collect()
        torch.cuda.empty_cache()
    store, split = source.open(settings.holdout)
    warn_of_slow_precision(settings, store.width, device)
    store = programs.store(store, device) if programs else store.on_device_if_it_fits(device)

    def validate(online: Encoder) -> Scores:
        return encoder_scores(online, store, split.validation, settings, prefix="val") if split.validation else {}

    def score_test(online: Encoder) -> Scores:
        hits = encoder_hits(online, store, split.test, settings, prefix="test")
        if world()[0] == 0:
            write_tally(folder / TEST_TALLY, tally_of(store, split.test, hits))
        return percent_right(hits)

    pretrain(
        settings,
        store,
        split.pretrain_N,
        protocol=source.protocol,
        folder=folder,
        evaluate=validate,
        test=score_test if test else None,
        report=report,
        device=device,
        recall=recall,
        steps_by=programs or steps_alone,
    )


@named_failures()
def baseline_scores(settings: Settings, source: DataSource, folder: Path) -> tuple[Scores, Scores]:
    """(Raw-skeleton 1-NN, untrained encoder) on validation, if there is one, and on test.

    Writes the right answers of test into `folder`.
    """
    round_products(settings)
    store, split = source.open(settings.holdout)
    untrained = build_pretrainer(settings, store.width).online.to(device_here())
    raw: Scores = {}
    scores: Scores = {}
    parts = {"val": split.validation, "test": split.test}
    for prefix, rounds in ((prefix, rounds) for prefix, rounds in parts.items() if rounds):
        raw_hits = raw_knn_hits(store, rounds, modalities=settings.modalities, prefix=prefix)
        hits = encoder_hits(untrained, store, rounds, settings, prefix=prefix)
        raw |= percent_right(raw_hits)
        scores |= percent_right(hits)
    write_tally(folder / RAW_TALLY, tally_of(store, split.test, raw_hits))
    write_tally(folder / UNTRAINED_TALLY, tally_of(store, split.test, hits))
    return raw, scores


def conditions(source: DataSource, holdout: Holdout) -> Conditions:
    """The data that a search measures on."""
    store, split = source.open(holdout)
    compared, _ = remarks(store, source.protocol, split)
    parts = {"val": split.validation, "test": split.test}
    return Conditions(
        store.dataset,
        source.protocol,
        queries={name: sum(len(r.query_N) for r in rounds) for name, rounds in parts.items()},
        pretrained=len(split.pretrain_N),
        training=len(split.test[0].gallery_N),
        partial=compared if compared.startswith("(") else "",
        normalization=store.normalization,
    )


@named_failures()
def test_scores(settings: Settings, source: DataSource, folder: Path) -> Scores:
    """Scores of the newest whole checkpoint in `folder` on the test set: for finalists, at the last epoch.

    Writes the right answers into `folder`, too.
    """
    round_products(settings)
    store, split = source.open(settings.holdout)
    online = open_saved(folder).encoders().to(device_here())
    hits = encoder_hits(online, store, split.test, settings, prefix="test")
    write_tally(folder / TEST_TALLY, tally_of(store, split.test, hits))
    return percent_right(hits)
