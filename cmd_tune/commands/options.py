"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from cmd_tune.errors import Interrupted
from cmd_tune.files import home_path

Data = Annotated[Path | None, typer.Option(help="A store made by 'ingest'. [default: made-up actions]")]
Protocol = Annotated[str | None, typer.Option(help="Protocol, e.g. xview. [default: the data set's first]")]
Preset = Annotated[
    str | None, typer.Option(help="Scale: quick (a laptop's CPU) or paper (the authors' numbers, for GPUs).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
]
Storage = Annotated[Path, typer.Option(help="Folder of all runs, of made-up data and of mlflow.db.")]
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
        paths = {name: home_path(value) for name, value in options.items() if isinstance(value, Path)}
        try:
            command(**options | paths)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    return with_paths
