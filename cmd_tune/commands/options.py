"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from cmd_tune.errors import Interrupted, UsageError
from cmd_tune.files import home_path
from cmd_tune.remote_files import Place, looks_like_uri, read_place, redacted

Data = Annotated[
    str | None, typer.Option(help="A store made by 'ingest': a file, or s3://…. [default: made-up actions]")
]
Protocol = Annotated[str | None, typer.Option(help="Protocol, e.g. xview. [default: the data set's first]")]
Preset = Annotated[
    str | None, typer.Option(help="Scale: quick (a laptop's CPU) or paper (the authors' numbers, for GPUs).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
]
Storage = Annotated[str, typer.Option(help="All runs, made-up data and mlflow.db: a folder, or s3://BUCKET/FOLDER.")]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow server. [default: MLFLOW_TRACKING_URI, or mlflow.db in the storage folder]")
]
Name = Annotated[str | None, typer.Option(help="Name of the run. [default: what it is and the time]")]
Resume = Annotated[str | None, typer.Option(metavar="NAME", help="Continue the run with this name, or in this folder.")]


def from_home(command: Callable[..., None]) -> Callable[..., None]:
    """The command with ~ expanded in every path it is given: the shell leaves it as it is in --data=~/a.

    Ctrl-C where nothing else is said of it ends the command in one line.
    """

    @wraps(command)
    def with_paths(**options: Any) -> None:
        paths = {name: _path(value) for name, value in options.items() if isinstance(value, Path)}
        try:
            command(**options | paths)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    return with_paths


def place(text: str | None, option: str) -> Place | None:
    """What was typed behind an option as a path or a URI; None if nothing was."""
    return None if text is None else read_place(text, option)


def _path(path: Path) -> Path:
    """A path of this machine. Raises UsageError for a URI."""
    if looks_like_uri(str(path)):
        shown = redacted(str(path)).replace(":/", "://", 1)
        raise UsageError(f"{shown}: is a URI, where a file of this machine is needed; copy it here")
    return home_path(path)
