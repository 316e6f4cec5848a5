"""Scores one checkpoint and its baselines with the chosen tasks; prints a table, writes JSON and figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console

from cmd_tune.compute.allocator import keep_freed_memory
from cmd_tune.compute.device import device_here
from cmd_tune.compute.usage import Usage
from cmd_tune.data.splits import GalleryAndQueries
from cmd_tune.data.store import Store
from cmd_tune.evaluate.classifier import LabelledClips
from cmd_tune.evaluate.raw_skeletons import RAW_FRAMES, raw_predictions
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks import TASKS, EncoderUnderTest, Estimate, Measure, accuracy, current_name
from cmd_tune.files import write_text
from cmd_tune.formatting import duration
from cmd_tune.model.encoders import Encoder
from cmd_tune.progress import progress_bar
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Attempt, written
from cmd_tune.runs.environment import ENVIRONMENT, describe_environment, git_commit, last_commit
from cmd_tune.runs.evaluation_plan import Evaluation, check_fit, count_seen_queries, remarks
from cmd_tune.runs.evaluation_report import MeasuresByEncoder, describe_test, draw_figures, metrics, on_screen, results
from cmd_tune.runs.messages import print_line
from cmd_tune.runs.run_records import rounded_metrics, run_note, scores_page
from cmd_tune.runs.session import run_session
from cmd_tune.tracking import RunSnapshot, RunStatus
from cmd_tune.train.loop import build_pretrainer, round_products
from cmd_tune.train.saved_checkpoint import Saved, open_saved

RESULTS, FIGURES = "results.json", "figures"  # in an evaluation's folder
TRAINED, UNTRAINED, RAW = "checkpoint", "untrained encoder", "raw skeletons"


def run_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Run the tasks that no earlier session has done, print the scores, write the files.

    Raises Interrupted on Ctrl-C; CmdTuneError if a part failed: the others are done.
    """
    keep_freed_memory()
    folder = evaluation.folder
    saved = open_saved(evaluation.checkpoint)
    round_products(saved.settings)
    scores: dict[str, float] = {}
    files: list[Path] = []
    finished = _is_finished(evaluation)

    def snapshot(status: RunStatus) -> RunSnapshot:
        return _snapshot(evaluation, saved, scores, files, status, finished=finished)

    with run_session(evaluation, console, snapshot, finished=finished) as session:
        session.show()
        usage = Usage()
        data = _labelled(saved, evaluation.source)
        other = _labelled(saved, evaluation.transfer) if evaluation.transfer else None
        said = remarks(saved, data.store, evaluation.protocol, data.query_N)
        seen = count_seen_queries(saved, data.store, data.query_N)
        for line in said:
            print_line(console, line)
        attempt = session.ending.attempt
        by_encoder = _run_tasks(evaluation, saved, data, other, console, attempt)
        scores = metrics(by_encoder)
        if finished:
            files = [folder / RESULTS, *sorted((folder / FIGURES).glob("*.png"))]
        else:
            content = json.dumps(
                results(by_encoder, data, other, _about(evaluation, saved, data.store, seen)), indent=1
            )
            scores = scores | usage.since_last()
            files = written(attempt, folder / RESULTS, lambda path: write_text(path, content))
            files += attempt("figures", lambda: draw_figures(by_encoder[TRAINED], data, folder / FIGURES)) or []
        console.print(on_screen(by_encoder, data, evaluation.protocol))
        for line in said:
            print_line(console, line)
        if other and evaluation.transfer:
            console.print(f"transferred: to {describe_test(other, evaluation.transfer.protocol)}", style="dim")
        session.end("results.json, figures/")


def _is_finished(evaluation: Evaluation) -> bool:
    """Whether an earlier session came to the end, and nothing failed in it."""
    asked = [_measures_file(evaluation, who, task) for who in (TRAINED, UNTRAINED) for task in evaluation.tasks]
    return all(path.exists() for path in (evaluation.folder / RESULTS, *asked))


def _measures_file(evaluation: Evaluation, who: str, task: str) -> Path:
    return evaluation.folder / "work" / who.replace(" ", "-") / f"{task}-measures.json"


def _labelled(saved: Saved, source: DataSource) -> LabelledClips:
    """The protocol's test set, and the whole training set to learn from."""
    store, split = source.open("none")
    check_fit(saved, store)
    test = split.test[0]
    return LabelledClips(store.on_device_if_it_fits(device_here()), saved.settings, test.gallery_N, test.query_N)


def _run_tasks(
    evaluation: Evaluation,
    saved: Saved,
    data: LabelledClips,
    other: LabelledClips | None,
    console: Console,
    attempt: Attempt,
) -> MeasuresByEncoder:
    """The measures of the checkpoint and of its baselines, as far as the attempts succeed."""
    by_encoder: MeasuresByEncoder = {}
    untrained = build_pretrainer(saved.settings, saved.channels).online
    for who, encoders in ((TRAINED, saved.encoders()), (UNTRAINED, untrained)):
        by_encoder[who] = _measures(evaluation, data, other, who, encoders.to(device_here()), console, attempt)
    by_encoder[RAW] = attempt(f"knn of the {RAW}", lambda: [_raw(data)]) or []
    return by_encoder


def _measures(
    evaluation: Evaluation,
    data: LabelledClips,
    other: LabelledClips | None,
    who: str,
    encoders: Encoder,
    console: Console,
    attempt: Attempt,
) -> list[Measure]:
    """The measures of all tasks for one encoder; those of each task are written when it is done."""
    place = evaluation.folder / "work" / who.replace(" ", "-")
    subject = EncoderUnderTest(encoders, data, place, evaluation.seed, evaluation.official_best_of_test)

    def measured(word: str) -> list[Measure]:
        task = TASKS[current_name(word)]
        done = _measures_file(evaluation, who, word)
        if not done.exists():
            asked = replace(subject, data=other) if task.other_data and other else subject
            started = monotonic()
            with progress_bar(f"{who}: {word}", console) as progress:
                found = task.measure(asked, progress)
            write_text(done, json.dumps([asdict(measure) for measure in found]))
            console.print(f"{who}: {word} took {duration(monotonic() - started)}", highlight=False)
        measures = [_measure(kept) for kept in json.loads(done.read_text(encoding="utf-8"))]
        # Labels of another data set's clips are neither compared nor drawn beside those of this one.
        return [replace(measure, predicted=None) for measure in measures] if task.other_data else measures

    asked = [attempt(f"{word} of the {who}", partial(measured, word)) for word in evaluation.tasks]
    return [measure for measures in asked for measure in measures or []]


def _measure(kept: dict[str, Any]) -> Measure:
    estimates = {name: Estimate(**estimate) for name, estimate in kept["estimates"].items()}
    return Measure(kept["key"], kept["title"], estimates, kept["predicted"])


def _raw(data: LabelledClips) -> Measure:
    """1-nearest neighbour of the bare skeletons."""
    modalities = data.settings.modalities
    predicted_SQ = raw_predictions(data.store, GalleryAndQueries(data.train_N, data.query_N), modalities)
    return accuracy("knn", f"1-NN, {RAW_FRAMES} frames", predicted_SQ, data, stream_names(modalities))


def _about(evaluation: Evaluation, saved: Saved, store: Store, seen: int | None) -> dict[str, Any]:
    """seen: how many test clips it was pretrained on; None if that is not known."""
    return {
        "checkpoint": str(saved.path),
        "epoch": saved.epoch,
        "data": str(evaluation.data),
        "dataset": store.dataset,
        "protocol": evaluation.protocol,
        "normalization": store.normalization,
        "test_clips_pretrained_on": seen,
        "trained_on": saved.trained_on,
        "transfer_data": str(evaluation.transfer_data) if evaluation.transfer_data else None,
        "transfer_protocol": evaluation.transfer_protocol,
        "seed": evaluation.seed,
        "settings": saved.settings.model_dump(mode="json"),
        "environment": describe_environment(),
    }


def _snapshot(
    evaluation: Evaluation,
    saved: Saved,
    scores: Mapping[str, float],
    files: Sequence[Path],
    status: RunStatus,
    *,
    finished: bool,
) -> RunSnapshot:
    """The run as the tracker shows it. finished: by an earlier session, whose commit it keeps."""
    params = {
        "checkpoint": str(evaluation.checkpoint),
        "epoch": saved.epoch,
        "tasks": ",".join(evaluation.tasks),
        "transfer_data": str(evaluation.transfer_data) if evaluation.transfer_data else "",
        "evaluation_seed": evaluation.seed,
    }
    if evaluation.normalization:
        params["normalization"] = evaluation.normalization
    settings = saved.settings.model_dump(mode="json")
    environment = evaluation.environment if finished else describe_environment()
    note = f"The test set's scores of `{evaluation.checkpoint}`."
    return RunSnapshot(
        key=0,
        name=evaluation.folder.name,
        params={**settings, **params},
        documents={"settings.yaml": settings, ENVIRONMENT: environment},
        note=run_note(note, evaluation.folder, "results.json, figures/", evaluation.resume),
        data=evaluation.data_input("evaluation"),
        commit=last_commit(evaluation.folder) if finished else git_commit() or "",
        scores=rounded_metrics(scores),
        files=list(files),
        status=status,
        page=scores_page(),
    )
