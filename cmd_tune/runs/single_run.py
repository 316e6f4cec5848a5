"""One configuration without a search: pretrained in this process, with its progress on the screen."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationInfo, field_validator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cmd_tune.compute.device import device_here
from cmd_tune.compute.usage import Usage
from cmd_tune.data.splits import describe_pretraining
from cmd_tune.data.views.modalities import check_modalities
from cmd_tune.errors import UsageError
from cmd_tune.evaluate.scores import Scores
from cmd_tune.files import write_text
from cmd_tune.formatting import percent
from cmd_tune.mistakes import found
from cmd_tune.progress import PERIOD_S
from cmd_tune.remote_files import Place
from cmd_tune.runs.baseline_comparison import against_baselines
from cmd_tune.runs.data_source import DataSource, open_data
from cmd_tune.runs.environment import ENVIRONMENT, describe_environment, git_commit, last_commit
from cmd_tune.runs.failures import named_failures
from cmd_tune.runs.pretrain_and_score import TEST_SCORES, baseline_scores, run, test_scores
from cmd_tune.runs.run_checks import check_batch, check_disk, checkpoint_bytes
from cmd_tune.runs.run_folder import PRETRAIN_FILE, SEARCH_FILE, new_folder
from cmd_tune.runs.run_plan import KeptData, RunPlan, check_same_data, data_fields, read_plan
from cmd_tune.runs.run_records import cost, rounded_metrics, run_note, scores_page
from cmd_tune.runs.session import run_session
from cmd_tune.settings import (
    PRESETS,
    Settings,
    check_overrides,
    kept_settings,
    make_settings,
    parse_overrides,
    read_settings,
)
from cmd_tune.tracking import RunSnapshot, RunStatus, new_identity, resolve_tracking_uri
from cmd_tune.train.loop import Record, epochs_done
from cmd_tune.train.precision import resolve_precision


class SingleRun(RunPlan):
    """The plan of `pretrain`."""

    command = "pretrain"
    file = PRETRAIN_FILE

    settings: Settings

    @field_validator("settings", mode="before")
    @classmethod
    def _from_file(cls, value: Any, info: ValidationInfo) -> Settings:
        if isinstance(value, Settings):
            return value
        if not isinstance(value, dict):
            raise ValueError(f"should be a mapping (setting: value); found {found(value)}")
        return kept_settings(f"{info.data['folder'] / cls.file}: settings", value)


def new_single(
    *,
    data: Place | None,
    protocol: str | None,
    preset: str | None,
    overrides: Sequence[str],
    config: Path | None,
    name: str | None,
    storage: Path,
    tracking_uri: str | None,
) -> SingleRun:
    """Resolve a run and write its plan into a new folder of the storage. Raises UsageError for what does not fit."""
    layers = [(str(config), _config_values(config))] if config else []
    changed = parse_overrides(overrides)
    settings = make_settings(preset or "quick", *layers, ("--set", changed))
    check_overrides("--set", changed, settings)
    if preset and layers and set().union(*PRESETS.values()) <= layers[0][1].keys():
        raise UsageError(f"--preset {preset}: {config} gives every setting of a preset a value; leave it out")
    source, store = open_data(storage, *_data_of(config, data, protocol))
    _check_start(settings, source, storage)
    settings, said = resolve_precision(settings, store.width, device_here())
    if said:
        print(said, file=sys.stderr, flush=True)
    single = SingleRun(
        settings=settings,
        **data_fields(source, store),
        id=new_identity(),
        tracking_uri=resolve_tracking_uri(tracking_uri, storage),
        folder=new_folder(storage, name, "pretrain"),
        new=True,
    )
    single.write_new()
    return single


def _config_values(config: Path) -> dict[str, Any]:
    """The settings in a file: some, to lay over a preset; or all, if a search wrote the file as best.yaml."""
    values = read_settings(config)
    return kept_settings(str(config), values).model_dump() if _search_of(config) else values


def _search_of(config: Path) -> Path | None:
    """The plan file of the search whose best.yaml `config` is; None of any other file."""
    plan = config.parent / SEARCH_FILE
    return plan if plan.is_file() else None


def _data_of(config: Path | None, data: Place | None, protocol: str | None) -> tuple[Place | None, str | None]:
    """Data and protocol of a run: as asked; without data, those of the search whose best.yaml is `config`.

    Raises UsageError if that store is gone or has changed.
    """
    plan = _search_of(config) if config else None
    if data is not None or plan is None:
        return data, protocol
    kept = read_plan(plan, KeptData)
    if isinstance(kept.data, Path) and not kept.data.is_file():
        raise UsageError(
            f"--data: {config} is of a search on {kept.data}, which is not there; name the store to train on"
        )
    check_same_data(plan, kept.model_dump())
    return kept.data, protocol or kept.protocol


def resumed_single(
    name: str,
    *,
    kept_options: Mapping[str, Any],
    storage: Path,
    tracking_uri: str | None = None,
    data: Place | None = None,
) -> SingleRun:
    """An earlier run, as it was. Arguments as those of `RunPlan.resumed`. data: where its store lies now."""
    single = SingleRun.resumed(
        name, kept_options=kept_options, storage=storage, tracking_uri=tracking_uri, given={"data": data}
    )
    _check_start(single.settings, single.source, single.folder)
    if data is not None:
        single.write()
    return single


def _check_start(settings: Settings, source: DataSource, place: Path) -> str:
    """Raise CmdTuneError for what would fail after the start. Returns what the checkpoints take, in one line."""
    store, split = source.open(settings.holdout)
    check_modalities(settings.modalities, store.layout)
    check_batch(settings.batch_size, len(split.pretrain_N))
    return check_disk(place.absolute(), checkpoint_bytes(settings, store.width), place.glob("*.pt"))


def run_single(single: SingleRun, *, test: bool, console: Console) -> None:
    """Pretrain to the last epoch, from the folder's checkpoint if there is one.

    Raises Interrupted on Ctrl-C; CmdTuneError if the run cannot go on, or if a baseline or the test failed.
    """
    history: list[Record] = []
    before = epochs_done(single.folder)
    tested = single.folder / TEST_SCORES
    scores: Scores = json.loads(tested.read_text(encoding="utf-8")) if tested.exists() else {}
    finished = before == single.settings.epochs and not (test and not scores)

    def snapshot(status: RunStatus) -> RunSnapshot:
        return _snapshot(single, history, scores, status, finished=finished)

    store, split = single.source.open(single.settings.holdout)
    where = f"{describe_pretraining(store, single.protocol, split)}, {single.data}"
    console.print(f"{single.name}: pretraining on {where}", highlight=False, markup=False, soft_wrap=True)
    if before < single.settings.epochs:
        disk = _check_start(single.settings, single.source, single.folder)
        console.print(disk, highlight=False, markup=False, soft_wrap=True)
    with run_session(single, console, snapshot, finished=finished) as session:
        attempt = session.ending.attempt
        baselines = attempt("baselines", lambda: baseline_scores(single.settings, single.source, single.folder))
        session.show()
        with _progress(console) as progress:
            bar = progress.add_task(single.name, total=single.settings.epochs, best="")

            usage = Usage()

            def report(record: Record) -> None:
                history.append(record)
                if len(history) <= before:  # from the checkpoint, at once: they say nothing of the time that is left
                    progress.reset(bar, completed=len(history))
                    return
                history[-1] = record | usage.since_last()
                session.show()
                progress.update(bar, completed=int(record["epoch"]), best=f"loss {record['loss/total']:.3f}")
                if "val/knn/fused" in record:
                    progress.console.print(_line(record), highlight=False)

            with named_failures():
                run(single.settings, single.source, single.folder, report)
        if test and not scores:
            scores = attempt("test", lambda: test_scores(single.settings, single.source, single.folder)) or {}
        if test and scores:
            write_text(tested, json.dumps(scores))
        console.print(_closing(single.settings, history[-1] | scores, *(baselines or ({}, {}))))
        if not scores and single.settings.holdout == "none":
            cure = f"{single.resume} --test"
            note = f"no scores: all training clips were pretrained on; score the test set with: {cure}"
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        if scores:
            console.print(against_baselines("this run", "test/knn/fused", single.folder, single.folder), style="dim")
        session.end("", " --test" if test else "")


def _snapshot(
    single: SingleRun, history: Sequence[Record], scores: Scores, status: RunStatus, *, finished: bool
) -> RunSnapshot:
    """The run as the tracker shows it. finished: by an earlier session, whose commit it keeps."""
    settings = single.settings.model_dump(mode="json")
    costs = cost(history, cpus=torch.get_num_threads(), gpus=float(device_here().type == "cuda"))
    return RunSnapshot(
        key=0,
        name=single.folder.name,
        params=settings | ({"normalization": single.normalization} if single.normalization else {}),
        documents={"settings.yaml": settings, ENVIRONMENT: single.environment if finished else describe_environment()},
        note=run_note("One configuration.", single.folder, "checkpoint.pt", single.resume),
        data=single.data_input("training"),
        commit=last_commit(single.folder) if finished else git_commit() or "",
        epochs=[rounded_metrics(record) for record in history],
        scores=rounded_metrics(scores)
        | ({} if status is RunStatus.RUNNING or not history else costs),  # not before a resume has its history
        status=status,
        page=scores_page(),
    )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
    times = (TextColumn("{task.fields[best]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, disable=not console.is_terminal, speed_estimate_period=PERIOD_S)


def _line(record: Record) -> str:
    knn = ", ".join(
        f"{name.removeprefix('val/knn/')} {record[name]:.1f}" for name in record if name.startswith("val/knn/")
    )
    return f"epoch {record['epoch']:.0f}: loss {record['loss/total']:.3f}, val KNN {knn}"


def _closing(settings: Settings, scores: Scores, raw: Scores, untrained: Scores) -> Table:
    """A table of the scores of the run and of its baselines, in percent."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    columns = {"this run": scores, "untrained": untrained, "raw 1-NN": raw}
    for heading in columns:
        table.add_column(heading, justify="right")
    for kind in ("val/knn", "val/linear", "test/knn", "test/linear"):
        for name in (f"{kind}/{stream}" for stream in (*settings.modalities, "fused")):
            if name in scores:
                table.add_row(name, *(percent(column.get(name)) for column in columns.values()))
    return table
