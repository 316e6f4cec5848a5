"""The commands for runs that are kept: searches, report, compare, stop."""

from typing import Annotated

import typer
from rich.console import Console

from cmd_tune.commands.options import Storage
from cmd_tune.runs.run_folder import DEFAULT_STORAGE, SEARCH_FILE


def searches(
    storage: Storage = str(DEFAULT_STORAGE),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print them as JSON, with all that is known of each.")
    ] = False,
) -> None:
    """List the searches of a storage, newest first."""
    from cmd_tune.runs.remote_storage import open_storage
    from cmd_tune.search.search_list import show_searches

    at = open_storage(storage)
    show_searches(at.folder, Console(), as_json=as_json, elsewhere=at.elsewhere(SEARCH_FILE))


def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a search in the storage, or its folder.")],
    storage: Storage = str(DEFAULT_STORAGE),
) -> None:
    """Write the report of a search anew, from what is known so far.

    Of a search that runs or was interrupted, too. Needs neither Ray nor an MLflow server.
    """
    from cmd_tune.runs.remote_storage import open_storage
    from cmd_tune.search.kept_report import show_report
    from cmd_tune.search.kept_search import find_search, open_kept

    show_report(open_kept(find_search(open_storage(storage).folder, name)), Console())


def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Two searches or more, each as of 'report'.")],
    storage: Storage = str(DEFAULT_STORAGE),
) -> None:
    """Show searches side by side: settings, best scores, cost.

    Tells by fresh seeds whether the best of each differs from that of the first.
    """
    from cmd_tune.errors import UsageError
    from cmd_tune.runs.remote_storage import open_storage
    from cmd_tune.search.comparing import show_comparison
    from cmd_tune.search.kept_search import find_search, open_kept

    if len(names) < 2:
        raise UsageError(f"{names[0]}: name another search to compare it with")
    folder = open_storage(storage).folder
    show_comparison([open_kept(find_search(folder, name)) for name in names], Console())


def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a run in the storage, or its folder.")],
    storage: Storage = str(DEFAULT_STORAGE),
) -> None:
    """End a run that is running, as Ctrl-C does; it can be resumed.

    Waits until it has ended. A run on another host is ended there.
    """
    from cmd_tune.runs.remote_storage import open_storage
    from cmd_tune.runs.run_folder import find_run
    from cmd_tune.runs.stopping import refuse_elsewhere, stop_run

    at = open_storage(storage)
    refuse_elsewhere(name, at.driver(name))
    stop_run(*find_run(at.folder, name), Console())
