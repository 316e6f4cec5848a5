"""Searches from Python: run one, or open one that was kept. Beside the command line, which does the same."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from rich.console import Console

from cmd_tune.compute.home import ensure_home, ensure_temporary_folder
from cmd_tune.files import write_text
from cmd_tune.locks import check_platform
from cmd_tune.remote_files import read_place
from cmd_tune.runs.remote_storage import open_storage
from cmd_tune.runs.run_folder import DEFAULT_STORAGE
from cmd_tune.search.beginning import begin
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.execution.resources import read_fuse
from cmd_tune.search.kept_search import find_search
from cmd_tune.search.plan import SPACE
from cmd_tune.search.request import check_request
from cmd_tune.search.result import SearchResult
from cmd_tune.yaml_files import dump_yaml


def run_search(
    space: str | Path | Mapping[str, Any],
    *,
    data: str | Path | None = None,
    protocol: str | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    trials: int | None = None,
    time: str | None = None,
    refit: bool | None = None,
    confirm: bool | None = None,
    ablation: bool | None = None,
    concurrent: int | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    fuse: int | Literal["auto"] | None = None,
    cpus: int | None = None,
    address: str | None = None,
    name: str | None = None,
    storage: str | Path = DEFAULT_STORAGE,
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> SearchResult:
    """Run a search to its end, as `python run_search.py` does, whose options have the same names.

    space: a space file, the name of one in search_spaces/, or its content as a mapping. settings: override those of the
    preset, as --set does. quiet: whether nothing is printed.

    Raises UsageError for what does not fit, Interrupted on Ctrl-C, CmdTuneError if no trial has a result or a part of
    the end failed; `open_search` then opens what there is.
    """
    from cmd_tune.search.search import run_search as run  # while the engine starts

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line has it, for the processes of trials
    check_platform()
    ensure_temporary_folder()
    ensure_home()
    at = open_storage(str(storage))
    fused, fuse_auto = read_fuse(fuse)
    resources = ResourceRequest(concurrent, workers, gpus_per_worker, cpus, fuse=fused)
    # Not as a notebook's own output, which would show the live table as one picture after another.
    console = Console(quiet=quiet, force_jupyter=False)
    with _space_file(space) as file:
        request = check_request(
            str(file),
            data=None if data is None else read_place(str(data), "data"),
            protocol=protocol,
            preset=preset,
            overrides=[f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()],
            trials=trials,
            time=time,
            refit=refit,
            confirm=confirm,
            ablation=ablation,
            resources=resources,
            name=name,
            storage=at.folder,
            tracking_uri=tracking_uri,
            fuse_auto=fuse_auto,
        )
        plan, engine = begin(request, address, console)
    if isinstance(space, Mapping):  # whose file is gone now, but for the copy in the search's folder
        plan = replace(plan, space=replace(plan.space, path=plan.folder / SPACE))
    with closing(engine), at.kept(plan.folder, "search", new=True):
        run(plan, engine, console=console)
    return SearchResult(plan.folder)


def open_search(name: str | Path, *, storage: str | Path = DEFAULT_STORAGE) -> SearchResult:
    """A kept search, also one that runs: by its name in the storage, or by the path of its folder.

    Raises UsageError if there is none, CmdTuneError if it is damaged.
    """
    return SearchResult(find_search(open_storage(str(storage)).folder, str(name)))


@contextmanager
def _space_file(space: str | Path | Mapping[str, Any]) -> Iterator[str | Path]:
    """The file of a space: of a mapping, one that is gone after the block."""
    if not isinstance(space, Mapping):
        yield space
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "search.yaml"
        write_text(path, dump_yaml(dict(space)))
        yield path
