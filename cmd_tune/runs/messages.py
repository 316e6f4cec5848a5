"""Prints lines about a run: its folder, how to open the tracker's UI, outages. They can be pasted as they are."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.console import Console

from cmd_tune.redact import redact
from cmd_tune.runs.run_folder import shown_place
from cmd_tune.tracking import BackgroundTracker, open_tracker


class Recorded(Protocol):
    """What a plan says of the run's records: that of a search, or of any other run."""

    @property
    def tracking_uri(self) -> str: ...

    @property
    def experiment(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    @property
    def id(self) -> str: ...

    @property
    def resume(self) -> str: ...


def print_line(console: Console, text: str) -> None:
    """Print a line about the run, not of its results: unwrapped, without markup, without passwords."""
    console.print(redact(text), style="yellow", soft_wrap=True, highlight=False, markup=False, emoji=False)


def print_places(console: Console, folder: Path, contents: str, tracker: BackgroundTracker) -> None:
    """Print where a run's files are, and what opens the tracker's UI."""
    what = f" ({contents})" if contents else ""
    first, *then = tracker.links()
    for line in (
        f"\nFolder: {shown_place(folder)}{what}",
        f"{tracker.title}: {first}",
        *(f"  then: {link}" for link in then),
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)


def tell_outage(console: Console, folder: Path, resume: str) -> Callable[[str, str], None]:
    """The `say` of a tracker: prints one line if the server does not answer, and one when it does again.

    resume: the command that goes on with the run.
    """

    def tell(server: str, trouble: str) -> None:
        text = f"{server} answers again; what it missed is written now"
        if trouble:
            kept = f"the run goes on, its records are kept in {folder} and go to {server} when it takes them"
            text = f"{trouble}; {kept}, or afterwards by: {resume}"
        print_line(console, text)

    return tell


def start_tracker(plan: Recorded, console: Console) -> BackgroundTracker:
    """The tracker of a run, started; it prints what becomes of it, and what of the environment it does not follow."""
    tracker = open_tracker(
        plan.tracking_uri,
        plan.experiment,
        plan.name,
        plan.folder.parent,
        tell_outage(console, plan.folder, plan.resume),
        partial(print_line, console),
        identity=plan.id,
    )
    for line in tracker.remarks():
        print_line(console, line)
    return tracker


def close_tracker(tracker: BackgroundTracker, console: Console, resume: str) -> None:
    """Close the tracker, and say what it waits for if that takes long; if not everything could be written, say so, and
    which command, `resume`, writes the rest.
    """

    def notice(what: str) -> None:
        print_line(console, f"waiting for {tracker.title} to take {what}; Ctrl-C leaves it to: {resume}")

    try:
        trouble = tracker.close(notice)
    except KeyboardInterrupt:
        trouble = "interrupted"
    if trouble:
        print_line(console, f"Not everything is recorded. {trouble}")
        print_line(console, f"Write the rest with: {resume}")
