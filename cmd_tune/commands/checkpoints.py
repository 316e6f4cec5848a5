"""The commands for the authors' checkpoints: import, export."""

from pathlib import Path
from typing import Annotated

import typer

from cmd_tune.commands.options import Overrides


def import_(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of the authors' code.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
    data: Annotated[Path | None, typer.Option(help="The store that it was pretrained on, if you know it.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="The protocol whose training clips these were. [default: the data set's first]")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Read a checkpoint of the authors' code.

    Writes a checkpoint that 'evaluate' reads. Sizes are the checkpoint's own; other settings are the paper's.
    """
    from cmd_tune.errors import UsageError
    from cmd_tune.formatting import format_value
    from cmd_tune.settings import parse_overrides
    from cmd_tune.train.official_checkpoint import import_official

    if protocol and data is None:
        raise UsageError(f"--protocol {protocol}: goes with --data alone; name the store, too")
    saved = import_official(source, out, parse_overrides(overrides or []), data, protocol)
    sizes = ("modalities", "hidden_size", "layers", "embedding_size", "queue_size", "frames")
    kept = saved.trained_on
    known = f"{kept['clips']:,} clips of {kept['dataset']} {kept['protocol']}" if kept else "unknown clips"
    print(
        f"{out}: epoch {saved.epoch}, "
        + ", ".join(f"{key} {format_value(getattr(saved.settings, key))}" for key in sizes)
        + f"; pretrained on {known}"
    )


def export(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a folder with one.")],
    out: Annotated[Path, typer.Option(help="The file to write, for instance cmd.pth.tar.")],
) -> None:
    """Write a checkpoint for the authors' code.

    It can be evaluated there, but not resumed: the optimiser's state is not exported.
    """
    from cmd_tune.train.official_checkpoint import export_official

    print(f"{out}: encoders of {', '.join(export_official(source, out))}, in the authors' layout")
