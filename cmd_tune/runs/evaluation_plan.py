"""The plan of an evaluation: the checkpoint, the tasks, and data that fit the checkpoint."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmd_tune.compute.slower import warn_slower
from cmd_tune.data.fetched_store import fetch
from cmd_tune.data.layouts import layout_content
from cmd_tune.data.seen_clips import count_seen
from cmd_tune.data.splits import Indices, split_store
from cmd_tune.data.store import Store
from cmd_tune.data.views.modalities import check_modalities
from cmd_tune.errors import DataError, UsageError, did_you_mean
from cmd_tune.evaluate.tasks import DEFAULT_TASKS, TASKS, Task, current_name
from cmd_tune.remote_files import Place, beside, read_place
from cmd_tune.runs.data_source import SYNTHETIC, DataSource, open_data, open_place, source_of
from cmd_tune.runs.kept_paths import find_again
from cmd_tune.runs.run_folder import EVALUATE_FILE, new_folder
from cmd_tune.runs.run_plan import DataPlace, HomePath, RunPlan, check_same_data, data_fields
from cmd_tune.tracking import new_identity, resolve_tracking_uri
from cmd_tune.train.checkpoint import load_checkpoint
from cmd_tune.train.kept_checkpoints import path_before
from cmd_tune.train.loop import CHECKPOINT
from cmd_tune.train.saved_checkpoint import Saved, open_saved


class Evaluation(RunPlan):
    """The plan of `evaluate`."""

    command = "evaluate"
    file = EVALUATE_FILE

    checkpoint: HomePath
    weights: str | None = None  # fingerprint of the checkpoint
    tasks: tuple[str, ...]  # a file of 0.1.0 may have old names, by which its other files are called
    transfer_data: DataPlace | None  # for tasks on other data
    transfer_fingerprint: str | None = None
    transfer_protocol: str | None
    official_best_of_test: bool
    seed: int

    @property
    def transfer(self) -> DataSource | None:
        if self.transfer_data is None or self.transfer_protocol is None:
            return None
        return source_of(self.transfer_data, self.transfer_protocol)


def new_evaluation(
    checkpoint: Path | None,
    *,
    data: Place | None,
    protocol: str | None,
    tasks: str | None,
    transfer_data: Place | None,
    best_of_test: bool,
    seed: int,
    name: str | None,
    storage: Path,
    tracking_uri: str | None,
) -> Evaluation:
    """Resolve an evaluation, write its plan into a new folder. Raises UsageError or DataError if they do not fit."""
    if checkpoint is None:
        raise UsageError("CHECKPOINT: name a checkpoint or a run's folder (or --resume an evaluation)")
    chosen = _parse_tasks(tasks) if tasks else DEFAULT_TASKS
    on_other_data = _tasks_that(lambda task: task.other_data)
    if bool(set(chosen) & set(on_other_data)) != (transfer_data is not None):
        words = " or ".join(on_other_data)
        raise UsageError(f"--with {words} and --transfer-data STORE go together; give both or neither")
    if best_of_test:
        _check_applies("--official-best-of-test", _tasks_that(lambda task: task.has_curve), chosen)
    if seed:
        _check_applies(f"--seed {seed}", _tasks_that(lambda task: task.draws), chosen)
    saved = open_saved(checkpoint)
    source, store = _data_of(saved, storage, data, protocol)
    check_fit(saved, store)
    transfer = other = None
    if transfer_data is not None:
        transfer, other = open_data(storage, transfer_data, None)
        check_fit(saved, other)
    evaluation = Evaluation(
        checkpoint=saved.path.absolute(),
        weights=saved.fingerprint,
        tasks=chosen,
        transfer_data=transfer.place if transfer else None,
        transfer_fingerprint=other.fingerprint if other else None,
        transfer_protocol=transfer.protocol if transfer else None,
        official_best_of_test=best_of_test,
        seed=seed,
        **data_fields(source, store),
        id=new_identity(),
        tracking_uri=resolve_tracking_uri(tracking_uri, storage),
        folder=new_folder(storage, name, "evaluate"),
        new=True,
    )
    evaluation.write_new()
    return evaluation


def checkpoint_here(typed: str | None) -> Path | None:
    """The path that was typed as CHECKPOINT; of one at a URI, or of that of a run's folder there, its copy here."""
    place = None if typed is None else read_place(typed, "CHECKPOINT")
    if isinstance(place, str):
        return fetch(place) if place.partition("?")[0].endswith(".pt") else _newest_at(place)
    return place


def _newest_at(folder: str) -> Path:
    """The copy here of the newest whole checkpoint in a run's folder at a URI. Raises DataError if there is none."""
    last, before = (beside(folder, name) for name in (CHECKPOINT, path_before(Path(CHECKPOINT)).name))
    try:
        return _fetch_whole(last)
    except DataError as error:
        why = error
    try:
        path = _fetch_whole(before)
    except DataError:
        raise why from None
    warn_slower(f"{why}; {before} is used in its place")
    return path


def _fetch_whole(uri: str) -> Path:
    """The copy here of a checkpoint. Raises DataError, by its URI, if there is none or if it is damaged."""
    path = fetch(uri)
    try:
        load_checkpoint(path)
    except DataError as error:
        raise DataError(str(error).replace(str(path), uri)) from error
    return path


def _parse_tasks(text: str) -> tuple[str, ...]:
    """The tasks that --with names, each once. Raises UsageError for one that does not exist."""
    chosen = tuple(dict.fromkeys(current_name(part.strip()) for part in text.split(",")))
    for task in chosen:
        if task not in TASKS:
            raise UsageError(f"--with {task}: no such task, {did_you_mean(task, TASKS)}")
    return chosen


def _tasks_that(holds: Callable[[Task], bool]) -> list[str]:
    """The words of the tasks of which something holds."""
    return [word for word, task in TASKS.items() if holds(task)]


def _check_applies(option: str, words: Collection[str], chosen: Collection[str]) -> None:
    """Raise UsageError if an option applies to tasks none of which is chosen."""
    if not set(chosen) & set(words):
        raise UsageError(f"{option}: applies to {', '.join(words)}, and --with names none of these; leave it out")


def resumed_evaluation(
    name: str,
    *,
    kept_options: Mapping[str, Any],
    storage: Path,
    tracking_uri: str | None = None,
    checkpoint: Path | None = None,
    data: Place | None = None,
    transfer_data: Place | None = None,
) -> Evaluation:
    """An earlier evaluation, as it was. kept_options, tracking_uri: as those of `RunPlan.resumed`.

    checkpoint, data, transfer_data: where these lie now, if they have moved.
    Raises UsageError if its checkpoint or its data have changed.
    """
    given = {"checkpoint": checkpoint, "data": data, "transfer_data": transfer_data}
    evaluation = Evaluation.resumed(
        name, kept_options=kept_options, storage=storage, tracking_uri=tracking_uri, given=given
    )
    path, saved = evaluation.folder / EVALUATE_FILE, open_saved(evaluation.checkpoint)
    if (evaluation.weights or saved.fingerprint) != saved.fingerprint:
        if checkpoint is not None:
            raise UsageError(f"CHECKPOINT {checkpoint}: is not what {name} evaluates; start a new evaluation")
        raise UsageError(f"{path}: checkpoint: {saved.path} has changed since; start a new evaluation")
    other = {"data": evaluation.transfer_data, "fingerprint": evaluation.transfer_fingerprint}
    if transfer_data is not None and evaluation.transfer_protocol is None:
        raise UsageError(f"--transfer-data {transfer_data}: no task of {name} is on other data; leave it out")
    if evaluation.transfer_data:
        check_same_data(path, other, given=transfer_data, option="--transfer-data")
    if any(place is not None for place in given.values()):
        evaluation = evaluation.model_copy(update={"checkpoint": saved.path.absolute()})
        evaluation.write()
    return evaluation


def _data_of(saved: Saved, storage: Path, data: Place | None, protocol: str | None) -> tuple[DataSource, Store]:
    """The data to score a checkpoint on: as asked; else what it was trained on, under its protocol.

    Raises UsageError if that is not known, is gone, or has changed.
    """
    kept = saved.data
    if data is not None:
        same = kept and open_place(data).dataset == kept["dataset"]
        return open_data(storage, data, protocol or (kept["protocol"] if same else None))
    ask = "name the store to score it on"
    if not kept:
        raise UsageError(f"--data: {saved.path} does not say what it was trained on; {ask}")
    path, protocol = find_again(Path(kept["path"]), saved.path.absolute().parents), protocol or kept["protocol"]
    made_up = not path.is_file() and kept["dataset"] == SYNTHETIC
    if not (path.is_file() or made_up):
        raise UsageError(f"--data: {saved.path} was trained on {path}, which is not there; {ask}")
    source, store = open_data(storage, None if made_up else path, protocol)
    if store.fingerprint != kept["fingerprint"]:
        raise UsageError(f"--data: {saved.path} was trained on {path}, which has changed since; {ask}")
    return source, store


def count_seen_queries(saved: Saved, store: Store, query_N: Indices) -> int | None:
    """How many of the queries a checkpoint was pretrained on; None if that is not known."""
    kept = saved.data
    if "clip_keys" in kept:
        return count_seen(kept["clip_keys"], store, query_N)
    if kept and kept["fingerprint"] == store.fingerprint and kept["protocol"]:  # of an earlier release
        pretrain_N = split_store(store, kept["protocol"], saved.settings.holdout)[1].pretrain_N
        return int(np.isin(query_N, pretrain_N).sum())
    return None


def remarks(saved: Saved, store: Store, protocol: str, query_N: Indices) -> list[str]:
    """What readers of the scores must know of the data that the checkpoint was trained on, in one line each."""
    kept, seen = saved.data, count_seen_queries(saved, store, query_N)
    if not kept:
        say = "if you know it, say so with 'import --data STORE --protocol NAME'"
        return [f"it is unknown what {saved.path} was pretrained on, perhaps on some of these test clips; {say}"]
    lines = []
    if kept["fingerprint"] != store.fingerprint:
        lines.append(
            f"not the data that the checkpoint was trained on: {kept['dataset']} {kept['protocol']}, {kept['path']}"
        )
    elif kept["protocol"] not in (protocol, None):
        lines.append(f"scored under {protocol}, but pretrained under {kept['protocol']}")
    if seen:
        lines.append(f"the checkpoint was pretrained on {seen} of these {len(query_N)} test clips")
    if seen is None:
        lines.append(f"it is unknown on how many of these {len(query_N)} test clips the checkpoint was pretrained")
    return lines


def check_fit(saved: Saved, store: Store) -> None:
    """Raise DataError if a store's skeletons, or their normalisation, differ from those the encoders take.

    One line for each difference. Raises UsageError if its joints cannot have the encoders' modalities.
    """
    lines = []
    if saved.channels != store.width:
        joints, coordinates, bodies = store.frame_shape()
        lines.append(
            f"{store.path}: {joints} joints × {coordinates} × {bodies} bodies are {store.width} channels, the encoders "
            f"of {saved.path} take {saved.channels}; evaluate them on the kind of skeletons they were trained on"
        )
    else:
        check_modalities(saved.settings.modalities, store.layout)
    if saved.data:
        kept = saved.data["layout"], saved.data["normalization"]
        ours = layout_content(store.layout), store.normalization
        if {**kept[0], "name": ""} != {**ours[0], "name": ""}:
            lines.append(
                f"{store.path}: its skeletons are {ours[0]['name']}, those that {saved.path} was trained on "
                f"{kept[0]['name']}; evaluate it on the kind of skeletons it was trained on"
            )
        if kept[1] != ours[1]:
            lines.append(
                f"{store.path}: normalised as {ours[1]}, what {saved.path} was trained on as {kept[1]}; evaluate it on "
                "skeletons of the same normalisation"
            )
    elif store.layout.coordinates < 3:
        lines.append(
            f"{store.path}: its joints are in 2-D; {saved.path}, which does not say what it was trained on, is of "
            "joints in 3-D"
        )
    if lines:
        raise DataError(*lines)
