"""One checkpoint asked all that was chosen, beside its baselines: on the screen, as JSON and figures, in MLflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from rich.console import Console

from cmd_tune.compute.allocator import keep_freed_memory
from cmd_tune.config import read_settings
from cmd_tune.data.layouts import layout_content
from cmd_tune.data.splits import Indices, Retrieval, split_store
from cmd_tune.data.store import Store, open_store
from cmd_tune.errors import DataError, UsageError, nearest
from cmd_tune.evaluate.classifier import Labelled
from cmd_tune.evaluate.raw_skeletons import RAW_FRAMES, raw_predictions
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks import TASKS, Estimate, Measure, Subject, accuracy
from cmd_tune.files import home_path, write_text
from cmd_tune.formatting import duration
from cmd_tune.model.encoders import Encoder
from cmd_tune.plain_yaml import dump_yaml
from cmd_tune.progress import progress_bar
from cmd_tune.runs.ending import Ending, written
from cmd_tune.runs.environment import describe_environment, git_commit
from cmd_tune.runs.evaluation_report import MeasuresByEncoder, describe_test, draw_figures, metrics, on_screen, results
from cmd_tune.runs.pretrain_and_score import DataSource, device_here
from cmd_tune.runs.run_folder import (
    SYNTHETIC,
    check_same_data,
    earlier_run,
    new_folder,
    open_data,
    print_places,
    removed_on_failure,
    resume_line,
    tell_outage,
)
from cmd_tune.runs.run_records import run_note, scores_page
from cmd_tune.runs.session import sitting
from cmd_tune.tracking import RunSnapshot, RunStatus, open_tracker, resolve_tracking_uri
from cmd_tune.train.loop import build_pretrainer, round_products
from cmd_tune.train.saved_checkpoint import Saved, open_saved

PLAN = "evaluate.yaml"
RESULTS, FIGURES = "results.json", "figures"  # in an evaluation's folder
DEFAULT_TASKS = ("knn", "fast")
CURVES = ("linear", "finetune", "transfer")  # tasks that have a test accuracy of each epoch
DRAWN = (*CURVES, "semi")  # tasks that draw random numbers

TRAINED, UNTRAINED, RAW = "checkpoint", "untrained encoder", "raw skeletons"


@dataclass(frozen=True)
class Evaluation:
    """What is asked of which checkpoint. transfer: the other data set, for the task of that name."""

    folder: Path
    checkpoint: Path
    source: DataSource
    dataset: str
    tasks: tuple[str, ...]
    transfer: DataSource | None
    best_of_test: bool
    seed: int
    tracking_uri: str
    new: bool = False


def new_evaluation(
    checkpoint: Path | None,
    *,
    data: Path | None,
    protocol: str | None,
    tasks: str | None,
    transfer_data: Path | None,
    best_of_test: bool,
    seed: int,
    name: str | None,
    storage: Path,
    tracking_uri: str | None,
) -> Evaluation:
    """Resolve an evaluation and write it into a new folder of the storage. Raises UsageError for what does not fit."""
    if checkpoint is None:
        raise UsageError("CHECKPOINT: name a checkpoint or a run's folder (or --resume an evaluation)")
    chosen = tuple(dict.fromkeys(part.strip() for part in tasks.split(","))) if tasks else DEFAULT_TASKS
    for task in chosen:
        if task not in TASKS:
            raise UsageError(f"--with {task}: no such task, {nearest(task, TASKS)}")
    if ("transfer" in chosen) != (transfer_data is not None):
        raise UsageError("--with transfer and --transfer-data STORE go together; give both or neither")
    if best_of_test and not set(chosen) & set(CURVES):
        raise UsageError(f"--official-best-of-test: is of {', '.join(CURVES)}, of which --with asks none; leave it out")
    if seed and not set(chosen) & set(DRAWN):
        raise UsageError(f"--seed {seed}: is of {', '.join(DRAWN)}, of which --with asks none; leave it out")
    saved = open_saved(checkpoint)
    source, store = _data_of(saved, storage, data, protocol)
    check_fit(saved, store)
    transfer = None
    if transfer_data is not None:
        transfer, other = open_data(storage, transfer_data, None)
        check_fit(saved, other)
    evaluation = Evaluation(
        folder=new_folder(storage, name, "evaluate"),
        checkpoint=saved.path.absolute(),
        source=source,
        dataset=store.dataset,
        tasks=chosen,
        transfer=transfer,
        best_of_test=best_of_test,
        seed=seed,
        tracking_uri=resolve_tracking_uri(tracking_uri, storage),
        new=True,
    )
    content = {
        "checkpoint": str(evaluation.checkpoint),
        "weights": saved.fingerprint,
        "data": str(source.path),
        "fingerprint": store.fingerprint,
        "protocol": source.protocol,
        "dataset": store.dataset,
        "tasks": list(chosen),
        "transfer_data": str(transfer.path) if transfer else None,
        "transfer_fingerprint": open_store(transfer.path).fingerprint if transfer else None,
        "transfer_protocol": transfer.protocol if transfer else None,
        "official_best_of_test": best_of_test,
        "seed": seed,
        "tracking_uri": evaluation.tracking_uri,
        "environment": describe_environment(),
    }
    with removed_on_failure(evaluation.folder):
        write_text(evaluation.folder / PLAN, dump_yaml(content))
    return evaluation


def resumed_evaluation(name: str, *, kept_options: Mapping[str, Any], storage: Path) -> Evaluation:
    """The evaluation of an earlier sitting, as it was. kept_options: what may not change, as typed now."""
    path = earlier_run(storage, name, PLAN, kept=kept_options)
    kept = read_settings(path)
    check_same_data(path, kept)
    saved = open_saved(home_path(kept["checkpoint"]))
    if kept.get("weights", saved.fingerprint) != saved.fingerprint:
        raise UsageError(f"{path}: checkpoint: {saved.path} has changed since; start a new evaluation")
    other = kept["transfer_data"]
    if other:
        check_same_data(path, {"data": other, "fingerprint": kept.get("transfer_fingerprint")})
    return Evaluation(
        folder=path.parent,
        checkpoint=home_path(kept["checkpoint"]),
        source=DataSource(home_path(kept["data"]), kept["protocol"]),
        dataset=kept["dataset"],
        tasks=tuple(kept["tasks"]),
        transfer=DataSource(home_path(other), kept["transfer_protocol"]) if other else None,
        best_of_test=kept["official_best_of_test"],
        seed=kept["seed"],
        tracking_uri=kept["tracking_uri"],
    )


def _data_of(saved: Saved, storage: Path, data: Path | None, protocol: str | None) -> tuple[DataSource, Store]:
    """What to score a checkpoint on: as asked; where nothing is, what it was trained on, under its protocol.

    Raises UsageError where that is not known, not there or no longer the same.
    """
    kept = saved.data
    if data is not None:
        same = kept and open_store(data).dataset == kept["dataset"]
        return open_data(storage, data, protocol or (kept["protocol"] if same else None))
    ask = "name the store to score it on"
    if not kept:
        raise UsageError(f"--data: {saved.path} does not say what it was trained on; {ask}")
    path, protocol = Path(kept["path"]), protocol or kept["protocol"]
    made_up = not path.is_file() and kept["dataset"] == SYNTHETIC
    if not (path.is_file() or made_up):
        raise UsageError(f"--data: {saved.path} was trained on {path}, which is not there; {ask}")
    source, store = open_data(storage, None if made_up else path, protocol)
    if store.fingerprint != kept["fingerprint"]:
        raise UsageError(f"--data: {saved.path} was trained on {path}, which has changed since; {ask}")
    return source, store


def remark(saved: Saved, store: Store, protocol: str, query_N: Indices) -> str:
    """What a reader of the scores must know of the data that the checkpoint was trained on; mostly nothing."""
    kept = saved.data
    if kept and kept["fingerprint"] != store.fingerprint:
        return f"not the data that the checkpoint was trained on: {kept['dataset']} {kept['protocol']}, {kept['path']}"
    if kept and kept["protocol"] not in (protocol, None):
        seen = np.isin(query_N, split_store(store, kept["protocol"])[1].pretrain_N).sum()
        return f"the checkpoint was pretrained on {seen} of these test clips, under {kept['protocol']}" if seen else ""
    return ""


def check_fit(saved: Saved, store: Store) -> None:
    """Raise DataError where a store's skeletons, or their normalisation, are not what the encoders take."""
    if saved.channels != store.width:
        joints, coordinates, bodies = store.frame_shape()
        raise DataError(
            f"{store.path}: {joints} joints × {coordinates} × {bodies} bodies are {store.width} channels, the encoders "
            f"of {saved.path} take {saved.channels}; evaluate them on the kind of skeletons they were trained on"
        )
    if not saved.data:
        return
    kept = saved.data["layout"], saved.data["normalization"]
    ours = layout_content(store.layout), store.normalization
    if {**kept[0], "name": ""} != {**ours[0], "name": ""}:
        raise DataError(
            f"{store.path}: its skeletons are {ours[0]['name']}, those that {saved.path} was trained on "
            f"{kept[0]['name']}; evaluate it on the kind of skeletons it was trained on"
        )
    if kept[1] != ours[1]:
        raise DataError(
            f"{store.path}: normalised as {ours[1]}, what {saved.path} was trained on as {kept[1]}; evaluate it on "
            "skeletons of the same normalisation"
        )


def run_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Ask, show, write. What was done in an earlier sitting is not done again.

    Raises Interrupted on Ctrl-C; CmdTuneError where a part of it failed: the others are done.
    """
    keep_freed_memory()
    folder = evaluation.folder
    saved = open_saved(evaluation.checkpoint)
    round_products(saved.settings)
    experiment = f"{evaluation.dataset}-{evaluation.source.protocol}"
    say = tell_outage(console, "evaluate", folder)
    tracker = open_tracker(evaluation.tracking_uri, experiment, folder.name, folder.parent, say)
    scores: dict[str, float] = {}
    files: list[Path] = []
    finished = _is_finished(evaluation)  # then nothing is to change, here or in MLflow

    def show(status: RunStatus) -> None:
        status = RunStatus.FINISHED if finished else status
        tracker.show(_snapshot(evaluation, saved, scores, files, status, finished=finished))

    ending = Ending(folder)
    with sitting("evaluate", folder, tracker, console, show, new=evaluation.new, finished=finished):
        show(RunStatus.RUNNING)
        data = _labelled(saved, evaluation.source)
        other = _labelled(saved, evaluation.transfer) if evaluation.transfer else None
        lines = _ask_all(evaluation, saved, data, other, console, ending)
        scores = metrics(lines)
        if finished:
            files = [folder / RESULTS, *sorted((folder / FIGURES).glob("*.png"))]
        else:
            content = json.dumps(results(lines, data, other, _about(evaluation, saved, data.store)), indent=1)
            files = written(ending.attempt, folder / RESULTS, lambda path: write_text(path, content))
            files += ending.attempt("figures", lambda: draw_figures(lines[TRAINED], data, folder / FIGURES)) or []
        console.print(on_screen(lines, data, evaluation.source.protocol))
        if said := remark(saved, data.store, evaluation.source.protocol, data.query_N):
            console.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)
        if other and evaluation.transfer:
            console.print(f"transferred: to {describe_test(other, evaluation.transfer.protocol)}", style="dim")
        print_places(console, folder, "results.json, figures/", tracker)
        ending.show(console)
        ending.check(resume_line("evaluate", folder))


def _is_finished(evaluation: Evaluation) -> bool:
    """Whether an earlier sitting came to the end, and nothing failed in it."""
    asked = [_measures_file(evaluation, who, task) for who in (TRAINED, UNTRAINED) for task in evaluation.tasks]
    return all(path.exists() for path in (evaluation.folder / RESULTS, *asked))


def _measures_file(evaluation: Evaluation, who: str, task: str) -> Path:
    return evaluation.folder / "work" / who.replace(" ", "-") / f"{task}-measures.json"


def _labelled(saved: Saved, source: DataSource) -> Labelled:
    """The protocol's test set, and the whole training set to learn from."""
    store, split = source.open()
    check_fit(saved, store)
    test = split.test[0]
    return Labelled(store.on_device_if_it_fits(device_here()), saved.settings, test.gallery_N, test.query_N)


def _ask_all(
    evaluation: Evaluation, saved: Saved, data: Labelled, other: Labelled | None, console: Console, ending: Ending
) -> MeasuresByEncoder:
    """What could be asked of the checkpoint and of its baselines; `ending` names the rest."""
    lines: MeasuresByEncoder = {}
    untrained = build_pretrainer(saved.settings, saved.channels).online
    for who, encoders in ((TRAINED, saved.encoders()), (UNTRAINED, untrained)):
        lines[who] = _ask(evaluation, data, other, who, encoders.to(device_here()), console, ending)
    lines[RAW] = ending.attempt(f"knn of the {RAW}", lambda: [_raw(data)]) or []
    return lines


def _ask(
    evaluation: Evaluation,
    data: Labelled,
    other: Labelled | None,
    who: str,
    encoders: Encoder,
    console: Console,
    ending: Ending,
) -> list[Measure]:
    """All tasks for one encoder; each is written down when it is done."""
    place = evaluation.folder / "work" / who.replace(" ", "-")
    subject = Subject(encoders, data, place, evaluation.seed, evaluation.best_of_test)

    def measured(task: str) -> list[Measure]:
        done = _measures_file(evaluation, who, task)
        if not done.exists():
            asked = replace(subject, data=other) if task == "transfer" and other else subject
            started = monotonic()
            with progress_bar(f"{who}: {task}", console) as progress:
                found = TASKS[task](asked, progress)
            write_text(done, json.dumps([asdict(measure) for measure in found]))
            console.print(f"{who}: {task} took {duration(monotonic() - started)}", highlight=False)
        return [_measure(kept) for kept in json.loads(done.read_text(encoding="utf-8"))]

    asked = [ending.attempt(f"{task} of the {who}", partial(measured, task)) for task in evaluation.tasks]
    return [measure for measures in asked for measure in measures or []]


def _measure(kept: dict[str, Any]) -> Measure:
    estimates = {name: Estimate(**estimate) for name, estimate in kept["estimates"].items()}
    return Measure(kept["key"], kept["title"], estimates, kept["predicted"])


def _raw(data: Labelled) -> Measure:
    """1-nearest neighbour of the bare skeletons."""
    modalities = data.settings.modalities
    predicted_SQ = raw_predictions(data.store, Retrieval(data.train_N, data.query_N), modalities)
    return accuracy("knn", f"1-NN, {RAW_FRAMES} frames", predicted_SQ, data, stream_names(modalities))


def _about(evaluation: Evaluation, saved: Saved, store: Store) -> dict[str, Any]:
    return {
        "checkpoint": str(saved.path),
        "epoch": saved.epoch,
        "data": str(evaluation.source.path),
        "dataset": store.dataset,
        "protocol": evaluation.source.protocol,
        "normalization": store.normalization,
        "trained_on": dict(saved.data),
        "transfer_data": str(evaluation.transfer.path) if evaluation.transfer else None,
        "transfer_protocol": evaluation.transfer.protocol if evaluation.transfer else None,
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
    """finished: by an earlier sitting, whose code it is of."""
    params = {
        "checkpoint": str(evaluation.checkpoint),
        "epoch": saved.epoch,
        "tasks": ",".join(evaluation.tasks),
        "transfer_data": str(evaluation.transfer.path) if evaluation.transfer else "",
        "evaluation_seed": evaluation.seed,
    }
    settings = saved.settings.model_dump(mode="json")
    note = f"The test set's scores of `{evaluation.checkpoint}`."
    return RunSnapshot(
        key=0,
        name=evaluation.folder.name,
        params={**settings, **params},
        documents={"settings.yaml": settings, "environment.yaml": describe_environment()},
        note=run_note(note, evaluation.folder, "results.json, figures/", "evaluate"),
        commit=None if finished else git_commit() or "",
        scores=dict(scores),
        files=list(files),
        status=status,
        page=scores_page(),
    )
