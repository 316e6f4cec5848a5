"""Short forms of other commands: plan, resume."""

import inspect
from typing import Annotated, Any

import typer

from cmd_tune.commands.options import Storage
from cmd_tune.commands.runs import search
from cmd_tune.runs.run_folder import DEFAULT_STORAGE

_OF_A_START = ("resume", "retry_failed", "dry_run", "plan")  # options of `search` that a plan has not


def plan(**options: Any) -> None:
    """Predict what a search takes, and start none (search --plan).

    Checks space and data, shows what would run, and measures a few steps for its time, cost and memory.
    """
    search(**options, plan=True)


_signature = inspect.signature(search)
_kept = [parameter for name, parameter in _signature.parameters.items() if name not in _OF_A_START]
plan.__signature__ = _signature.replace(parameters=_kept)  # type: ignore[attr-defined]  # which Typer reads
plan.__annotations__ = {parameter.name: parameter.annotation for parameter in _kept}


def resume(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a run in the storage, or its folder.")],
    storage: Storage = str(DEFAULT_STORAGE),
) -> None:
    """Go on with a run, whichever command made it.

    Takes the options that search, pretrain or evaluate takes with --resume, such as --trials of a search.
    """
    from cmd_tune.runs.remote_storage import command_of

    command = command_of(storage, name)
    program = context.parent
    assert program is not None
    assert isinstance(program.command, typer.core.TyperGroup)
    words = ["--resume", name, "--storage", storage, *context.args]
    with program.command.commands[command].make_context(command, words, parent=program) as begun:
        begun.command.invoke(begun)
