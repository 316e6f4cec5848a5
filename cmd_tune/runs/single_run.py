"""One configuration without a search: the loop in this process, progress on the screen, scores in MLflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cmd_tune.config import Settings, check_applies, make_settings, parse_overrides, read_settings
from cmd_tune.errors import UsageError
from cmd_tune.evaluate.scores import Scores
from cmd_tune.files import home_path, write_text
from cmd_tune.formatting import percent
from cmd_tune.plain_yaml import dump_yaml
from cmd_tune.progress import PERIOD_S
from cmd_tune.runs.baseline_comparison import against_baselines
from cmd_tune.runs.ending import Ending
from cmd_tune.runs.environment import describe_environment, git_commit
from cmd_tune.runs.failures import named_failures
from cmd_tune.runs.pretrain_and_score import TEST_SCORES, DataSource, baseline_scores, device_here, run, test_scores
from cmd_tune.runs.run_checks import check_batch, check_disk, checkpoint_bytes
from cmd_tune.runs.run_folder import (
    SEARCH_PLAN,
    check_same_data,
    earlier_run,
    new_folder,
    open_data,
    print_places,
    removed_on_failure,
    resume_line,
    tell_outage,
)
from cmd_tune.runs.run_records import cost, run_note, scores_page
from cmd_tune.runs.session import sitting
from cmd_tune.tracking import RunSnapshot, RunStatus, open_tracker, resolve_tracking_uri
from cmd_tune.train.loop import Record, epochs_done

PLAN = "pretrain.yaml"


@dataclass(frozen=True)
class Single:
    folder: Path
    settings: Settings
    source: DataSource
    dataset: str
    tracking_uri: str
    new: bool = False


def new_single(
    *,
    data: Path | None,
    protocol: str | None,
    preset: str | None,
    overrides: Sequence[str],
    config: Path | None,
    name: str | None,
    storage: Path,
    tracking_uri: str | None,
) -> Single:
    """Resolve a run and write it into a new folder of the storage."""
    layers = [(str(config), read_settings(config))] if config else []
    changed = parse_overrides(overrides)
    settings = make_settings(preset or "quick", *layers, ("--set", changed))
    check_applies("--set", [key for key in changed if key != "topk"], settings)  # which queue_size bounds in any case
    if preset and layers and Settings.model_fields.keys() <= layers[0][1].keys():
        raise UsageError(f"--preset {preset}: {config} gives every setting a value; leave it out")
    source, store = open_data(storage, *_data_of(config, data, protocol))
    _check_start(settings, source, storage)
    folder = new_folder(storage, name, "pretrain")
    single = Single(folder, settings, source, store.dataset, resolve_tracking_uri(tracking_uri, storage), new=True)
    content = {
        "settings": settings.model_dump(mode="json"),
        "data": str(source.path),
        "fingerprint": store.fingerprint,
        "protocol": source.protocol,
        "dataset": store.dataset,
        "tracking_uri": single.tracking_uri,
        "environment": describe_environment(),
    }
    with removed_on_failure(folder):
        write_text(folder / PLAN, dump_yaml(content))
    return single


def _data_of(config: Path | None, data: Path | None, protocol: str | None) -> tuple[Path | None, str | None]:
    """Data and protocol of a run: as asked; where none are, those of the search whose best.yaml it takes.

    Raises UsageError where these are gone or have changed.
    """
    plan = config.parent / SEARCH_PLAN if config else None
    if data is not None or plan is None or not plan.is_file():
        return data, protocol
    kept = read_settings(plan)
    theirs = Path(kept["data"])
    if not theirs.is_file():
        raise UsageError(f"--data: {config} is of a search on {theirs}, which is not there; name the store to train on")
    check_same_data(plan, kept)
    return theirs, protocol or kept["protocol"]


def resumed_single(name: str, *, kept_options: Mapping[str, Any], storage: Path) -> Single:
    """The run of an earlier sitting, as it was. kept_options: what may not change, as typed now."""
    path = earlier_run(storage, name, PLAN, kept=kept_options)
    kept = read_settings(path)
    check_same_data(path, kept)
    settings = make_settings("quick", (f"{path}: settings", kept["settings"]))
    source = DataSource(home_path(kept["data"]), kept["protocol"])
    _check_start(settings, source, path.parent)
    return Single(
        path.parent,
        settings,
        source,
        kept["dataset"],
        kept["tracking_uri"],
    )


def _check_start(settings: Settings, source: DataSource, place: Path) -> None:
    """Raise for what would fail once the run has started."""
    store, split = source.open()
    check_batch(settings.batch_size, len(split.pretrain_N))
    check_disk(place.absolute(), checkpoint_bytes(settings, store.width), 1)


def run_single(single: Single, *, test: bool, console: Console) -> None:
    """Pretrain to the last epoch, or from where the folder's checkpoint stands.

    Raises Interrupted on Ctrl-C; CmdTuneError where the run cannot go on, or where a baseline or the test failed.
    """
    name = single.folder.name
    say = tell_outage(console, "pretrain", single.folder)
    tracker = open_tracker(single.tracking_uri, _experiment(single), name, single.folder.parent, say)
    history: list[Record] = []
    before = epochs_done(single.folder)
    tested = single.folder / TEST_SCORES
    scores: Scores = json.loads(tested.read_text(encoding="utf-8")) if tested.exists() else {}
    finished = before == single.settings.epochs and not (test and not scores)  # then MLflow's run is not to change

    def show(status: RunStatus) -> None:
        status = RunStatus.FINISHED if finished else status
        tracker.show(_snapshot(single, history, scores, status, finished=finished))

    where = f"{single.dataset} {single.source.protocol}, {single.source.path}"
    console.print(f"{name}: pretraining on {where}", highlight=False, markup=False, soft_wrap=True)
    ending = Ending(single.folder)
    with sitting("pretrain", single.folder, tracker, console, show, new=single.new, finished=finished):
        baselines = ending.attempt("baselines", lambda: baseline_scores(single.settings, single.source, single.folder))
        show(RunStatus.RUNNING)
        with _progress(console) as progress:
            bar = progress.add_task(name, total=single.settings.epochs, best="")

            def report(record: Record) -> None:
                history.append(record)
                if len(history) <= before:  # from the checkpoint, at once: they say nothing of the time that is left
                    progress.reset(bar, completed=len(history))
                    return
                show(RunStatus.RUNNING)
                progress.update(bar, completed=int(record["epoch"]), best=f"loss {record['loss/total']:.3f}")
                if "val/knn/fused" in record:
                    progress.console.print(_line(record), highlight=False)

            with named_failures():
                run(single.settings, single.source, single.folder, report)
        if test and not scores:
            scores = ending.attempt("test", lambda: test_scores(single.settings, single.source, single.folder)) or {}
        if test and scores:
            write_text(tested, json.dumps(scores))
        console.print(_closing(single.settings, history[-1] | scores, *(baselines or ({}, {}))))
        if scores:
            console.print(against_baselines("this run", "test/knn/fused", single.folder, single.folder), style="dim")
        print_places(console, single.folder, "", tracker)
        ending.show(console)
        ending.check(f"{resume_line('pretrain', single.folder)}{' --test' if test else ''}")


def _experiment(single: Single) -> str:
    return f"{single.dataset}-{single.source.protocol}"


def _snapshot(
    single: Single, history: Sequence[Record], scores: Scores, status: RunStatus, *, finished: bool
) -> RunSnapshot:
    """finished: by an earlier sitting, whose code it is of."""
    settings = single.settings.model_dump(mode="json")
    costs = cost(history, cpus=torch.get_num_threads(), gpus=float(device_here().type == "cuda"))
    return RunSnapshot(
        key=0,
        name=single.folder.name,
        params=settings,
        documents={"settings.yaml": settings, "environment.yaml": describe_environment()},
        note=run_note("One configuration.", single.folder, "checkpoint.pt", "pretrain"),
        commit=None if finished else git_commit() or "",
        epochs=list(history),
        scores=scores
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
    """The run beside the baselines, in percent."""
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
