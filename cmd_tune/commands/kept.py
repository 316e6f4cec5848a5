"""The commands for runs that are kept: searches."""

from typing import Annotated

import typer
from rich.console import Console

from cmd_tune.commands.options import Storage
from cmd_tune.runs.run_folder import DEFAULT_STORAGE


def searches(
    storage: Storage = str(DEFAULT_STORAGE),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print them as JSON, with all that is known of each.")
    ] = False,
) -> None:
    """List the searches of a storage, newest first."""
    from cmd_tune.runs.remote_storage import open_storage
    from cmd_tune.search.search_list import show_searches

    show_searches(open_storage(storage).folder, Console(), as_json=as_json)
