"""The commands for data: ingest, inspect."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def ingest(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="Format of the source: ntu-60, ntu-120, pku-mmd-2, nw-ucla, npy, ctr-gcn, pyskl, kinetics-skeleton, "
            "mediapipe, mediapipe-world or generic.",
        ),
    ],
    source: Annotated[Path, typer.Argument(help="File or folder as the data set is handed out.")],
    out: Annotated[Path, typer.Option(help="The store to write.")],
    layout: Annotated[
        Path | None,
        typer.Option(
            help="Joints of a generic source: a YAML of names, parents and landmarks, or a layout by name, e.g. ntu-25."
        ),
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="Names of clips to leave out, one per line, such as NTU's official list.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store float16: half the size, rounded to half a millimetre.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first clip that cannot be used.")] = False,
) -> None:
    """Read a data set into one file.

    Normalised, to be memory-mapped. After an interruption, the same command continues where it stopped.
    """
    from cmd_tune.data.inspect.tables import ingest_on_screen

    console = Console(stderr=True)
    ingest_on_screen(
        format_name, source, out, layout=layout, exclude=exclude, half=half, strict=strict, console=console
    )


def inspect(
    store: Annotated[Path, typer.Argument(help="A store made by 'ingest'.")],
    out: Annotated[Path | None, typer.Option(help="A figure to write, as PNG: lengths, and clips over time.")] = None,
) -> None:
    """Show what a store holds.

    Counts, lengths, missing frames, protocols; and a figure with a few of its clips.
    """
    from cmd_tune.data.inspect.tables import inspect_on_screen

    inspect_on_screen(store, out, Console())
