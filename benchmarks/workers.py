"""`python -m benchmarks workers`: what the workers of a trial exchange, what that means on many GPUs, and how far the
results of two, three and four workers, and of two nodes, lie from one worker's.
"""

from collections.abc import Iterable
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.collectives import count_step, step_collectives
from benchmarks.invariance import CHANGES, by_processes, difference, over_nodes
from benchmarks.scaling import GPUS_OF_NODE, scaled
from benchmarks.step import CHANNELS
from cmd_tune.data.ingest.ingest import store_clips
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.synthetic import synthesize
from cmd_tune.settings import PRESETS, make_settings

WORKERS = (2, 3, 4)
GPUS = (8, 64, 512)
SECTIONS = ("collectives", "scaling", "processes", "nodes")


def main(
    sections: Annotated[list[str] | None, typer.Argument(help=f"Which of: {', '.join(SECTIONS)}.")] = None,
) -> None:
    """Count, derive and compare; print a table a section. Memory: 8 GiB for the collectives."""
    chosen = sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        raise typer.BadParameter(f"'{min(unknown)}' is not one of {', '.join(SECTIONS)}")
    console = Console(width=150)
    if "collectives" in chosen:
        console.print(_collectives())
    if "scaling" in chosen:
        console.print(_scaling())
    with TemporaryDirectory() as made:
        folder, actions = Path(made), Path(made) / "actions.arrow"
        store_clips(synthesize(), actions, dataset="synthetic", layout=LAYOUTS["ntu-25"], normalization="2s-agcn")
        pairs: dict[str, tuple[Path, Path]] = {}
        if "processes" in chosen:
            one = by_processes(actions, folder / "1", 1)
            for n in WORKERS:
                pairs[f"{n} workers over gloo"] = one, by_processes(actions, folder / str(n), n)
            for towards in (inf, -inf, 0.0):
                nudged = by_processes(actions, folder / f"nudged{towards}", 1, nudged=towards)
                pairs[f"1 worker, weights a last digit nearer to {towards:g}"] = one, nudged
        if "nodes" in chosen:
            pairs["2 workers on two Ray nodes"] = over_nodes(actions, folder / "nodes", CHANGES)
        if pairs:
            console.print(_invariance(pairs))


def _table(title: str, headings: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("", "operation", "carries") else "right")
    return table


def _collectives() -> Table:
    """Raises RuntimeError if what was counted is not what the closed form says."""
    table = _table("A step's collectives, counted on two processes", ("", "operation", "carries", "calls", "bytes"))
    for preset in PRESETS:
        settings = make_settings(preset)
        expected = step_collectives(settings, CHANNELS)
        counted = count_step(settings, CHANNELS)
        if counted != list(expected.values()):
            raise RuntimeError(f"{preset}: {counted} were counted, not {expected}")
        for carries, one in expected.items():
            table.add_row(preset, one.operation, carries, str(counted.count(one)), f"{one.given:,}")
    return table


def _scaling() -> Table:
    headings = ("", "GPUs", "cards a node", "global batch", "MB a GPU", "exchange", "step", "of one GPU's rate")
    table = _table("The paper's step on many GPUs, derived", headings)
    settings = make_settings("paper")
    for weak in (False, True):
        for gpus in GPUS:
            if gpus > settings.batch_size and not weak:
                continue
            for cards in (8, 1) if gpus > GPUS_OF_NODE else (0,):
                it = scaled(settings, CHANNELS, gpus, cards=cards, weak=weak)
                table.add_row(
                    "64 clips a GPU" if weak else "64 clips in all",
                    str(gpus),
                    str(cards or "–"),
                    f"{it.batch:,}",
                    f"{it.moved / 1e6:,.0f}",
                    f"{1e3 * it.seconds:.1f} ms",
                    f"{1e3 * it.step:.1f} ms",
                    f"{gpus * it.efficiency:.1f}",
                )
    return table


def _invariance(pairs: dict[str, tuple[Path, Path]]) -> Table:
    title = f"Against one worker: quick preset, {CHANGES['epochs']} epochs, batch {CHANGES['batch_size']}"
    table = _table(title, ("", "losses, first epoch", "losses", "weights", "banks", "scores"))
    for name, (one, other) in pairs.items():
        apart = difference(one, other)
        parts = (f"{part:.1e}" for part in (apart.first, apart.losses, apart.weights, apart.banks))
        table.add_row(name, *parts, f"{apart.scores:.2f} points")
    return table
