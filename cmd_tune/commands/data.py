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
            help="Format of the source: ntu-60, ntu-120, pku-mmd-1, pku-mmd-2, nw-ucla, nw-ucla-text, npy, ctr-gcn, "
            "pyskl, kinetics-skeleton, mediapipe, mediapipe-world, bvh or generic.",
        ),
    ],
    source: Annotated[Path, typer.Argument(help="File or folder as the data set is handed out.")],
    out: Annotated[Path, typer.Option(help="The store to write.")],
    layout: Annotated[
        Path | None,
        typer.Option(
            help="Joints of a bvh or generic source: a YAML of names, parents and landmarks, or a layout by name, e.g. "
            "ntu-25."
        ),
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="Names of clips to leave out, one per line, such as NTU's official list.")
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY",
            help="2s-agcn, upright, torso, centred, ctr-gcn or none. "
            "[default: the format's; 'inspect --format' compares them]",
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store float16: half the size, rounded to half a millimetre.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first clip that cannot be used.")] = False,
) -> None:
    """Read a data set into one file.

    Normalised, to be memory-mapped. After an interruption, the same command continues where it stopped.

    Recordings without a format of their own are read as generic, with --layout: an .npz or Parquet file, or a folder
    or zip file of one .npy, .npz or .csv file per clip with an index.csv. docs/your-data.md has the form of each.
    """
    from cmd_tune.data.inspect.tables import ingest_on_screen

    console = Console(stderr=True)
    ingest_on_screen(
        format_name,
        source,
        out,
        layout=layout,
        exclude=exclude,
        normalization=normalise,
        half=half,
        strict=strict,
        console=console,
    )


def inspect(
    store: Annotated[Path, typer.Argument(help="A store made by 'ingest'; with --format, a source as for 'ingest'.")],
    out: Annotated[Path | None, typer.Option(help="A figure to write, as PNG, with a few clips over time.")] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", help="Format of a source, whose clips are compared under each normalisation."),
    ] = None,
    layout: Annotated[Path | None, typer.Option(help="With --format: as for 'ingest'.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="With --format: as for 'ingest'.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="With --format: the protocol, e.g. xview. [default: the data set's first]")
    ] = None,
) -> None:
    """Show what a store holds, or choose a normalisation.

    Of a store: counts, lengths, missing frames and joints, protocols, and a figure with a few of its clips. Of a source
    that has not been ingested, with --format: under each normalisation, how well nearest neighbours do on the
    validation split, how many clips lie or stand on their heads, and a figure with the same clips under each.
    """
    if format_name is None:
        from cmd_tune.data.inspect.tables import inspect_on_screen

        of_sources = {"--layout": layout, "--exclude": exclude, "--protocol": protocol}
        inspect_on_screen(store, out, Console(), of_sources=of_sources)
    else:
        from cmd_tune.evaluate.families import compare_on_screen

        compare_on_screen(
            format_name, store, layout=layout, exclude=exclude, protocol=protocol, out=out, console=Console()
        )
