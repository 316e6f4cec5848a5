"""The program: the list of its commands, and its exit codes."""

import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

import typer

import cmd_tune
from cmd_tune import interrupts
from cmd_tune.commands.checkpoints import export, import_
from cmd_tune.commands.data import ingest, inspect
from cmd_tune.commands.kept import compare, report, searches, stop
from cmd_tune.commands.options import from_home
from cmd_tune.commands.runs import evaluate, pretrain, search
from cmd_tune.commands.settings import settings
from cmd_tune.commands.short import plan, resume
from cmd_tune.compute.home import ensure_home, ensure_temporary_folder
from cmd_tune.compute.screen import outlive_screen
from cmd_tune.compute.slower import format_warning
from cmd_tune.errors import CmdTuneError, Interrupted, OutOfMemory, UsageError
from cmd_tune.locks import check_platform
from cmd_tune.out_of_memory import ADVICE, is_out_of_memory
from cmd_tune.redact import redact

_EXAMPLES = """Examples:

\b
  # a first search on made-up actions: minutes on a laptop
  python run_search.py --space temps.yaml
\b
  # a data set into one file, and a search on it
  python -m cmd_tune ingest nw-ucla nw-ucla-all_sqe.zip --out ucla.arrow
  python run_search.py --space temps.yaml --data ucla.arrow --trials 8
\b
  # the searches so far; continue one that was interrupted; two side by side
  python -m cmd_tune searches
  python -m cmd_tune resume temps-20261122-201400
  python -m cmd_tune compare temps-20261122-201400 temps-20261128-201400
\b
  # the paper's Table 1 on your data, then with the seeds that were added to a copy of its file
  python run_search.py --space table1.yaml --data ucla.arrow --name mine
  python run_search.py --resume mine --space my_table1.yaml
\b
  # the paper's scale, two trials on each GPU
  python run_search.py --space temps.yaml --data ntu60.arrow --preset paper --gpus-per-worker 0.5
\b
  # one configuration, no search; then the best one of a search, with its test scores
  python -m cmd_tune pretrain --data ucla.arrow --set student_temperature=0.2
  python -m cmd_tune pretrain --data ucla.arrow --config runs/NAME/best.yaml --test
\b
  # score a checkpoint on the test set: a trial's, or that of a single configuration (its folder)
  python -m cmd_tune evaluate runs/NAME/trials/002 --data ucla.arrow --with knn,solved,sgd,semi
\b
  # every setting, its value in each preset, what it means
  python -m cmd_tune settings
"""

# File system errors that are the user's to solve; reported in one line.
_FILE_SYSTEM_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG)

app = typer.Typer(
    name="cmd_tune",
    help="Tune CMD: cross-modal mutual distillation of skeleton encoders, as Ray searches recorded in MLflow.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_COMMANDS: dict[str, Callable[..., None]] = {  # as they are listed
    "search": search,
    "plan": plan,
    "pretrain": pretrain,
    "evaluate": evaluate,
    "searches": searches,
    "report": report,
    "compare": compare,
    "resume": resume,
    "stop": stop,
    "import": import_,
    "export": export,
    "ingest": ingest,
    "inspect": inspect,
    "settings": settings,
}
_PASSED_ON = {"resume": {"ignore_unknown_options": True, "allow_extra_args": True}}  # options, to another command
for _name, _command in _COMMANDS.items():
    app.command(_name, context_settings=_PASSED_ON.get(_name))(from_home(_command))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cmd_tune {cmd_tune.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """`python -m cmd_tune`."""
    _run(app)


def run_search_main() -> None:
    """`python run_search.py`: the search command by itself."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(epilog=_EXAMPLES)(from_home(search))
    _run(alone)


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise UsageError for an empty value, such as that of a variable that is not set: it would go for none at all."""
    for before, word in pairwise(("an argument", *words)):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise UsageError(f"{word.removesuffix('=') or before}: is empty; give it a value, or leave it out")


def _run(commands: typer.Typer) -> None:
    """Failures a person can act on end in a line each and their exit code."""
    # Threads that wait for each other by spinning take the cores from whoever they wait for: on a busy machine a step
    # of the small encoder then takes a hundred times as long. Read when torch is loaded, here and in Ray's processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    outlive_screen()
    try:
        _refuse_empty(sys.argv[1:])
        check_platform()
        ensure_temporary_folder()
        ensure_home()
        warnings.formatwarning = format_warning
        commands()
    except CmdTuneError as error:
        if isinstance(error, Interrupted):
            interrupts.over()
        word = "" if isinstance(error, Interrupted) else "error: "
        for line in error.lines:
            print(f"{word}{redact(line)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == interrupts.EXIT_CODE:  # as Typer ends for Ctrl-C before a command begins, silently
            print("interrupted", file=sys.stderr)
        raise
    except (MemoryError, OSError, RuntimeError) as error:
        if is_out_of_memory(error):
            print(f"error: {ADVICE}", file=sys.stderr)
            sys.exit(OutOfMemory.exit_code)
        if not isinstance(error, OSError) or error.errno not in _FILE_SYSTEM_ERRORS or not error.filename:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(CmdTuneError.exit_code)
