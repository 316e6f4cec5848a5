"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option(help="A store made by 'ingest'. [default: made-up actions]")]
Protocol = Annotated[str | None, typer.Option(help="Protocol, e.g. xview. [default: the data set's first]")]
Preset = Annotated[
    str | None, typer.Option(help="Scale: quick (a laptop's CPU) or paper (the authors' numbers, for GPUs).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
]
Storage = Annotated[Path, typer.Option(help="Folder of all runs, of made-up data and of mlflow.db.")]
TrackingUri = Annotated[str | None, typer.Option(help="MLflow server. [default: mlflow.db in the storage folder]")]
Name = Annotated[str | None, typer.Option(help="Name of the run. [default: what it is and the time]")]
Resume = Annotated[str | None, typer.Option(metavar="NAME", help="Go on with the run of this name.")]
