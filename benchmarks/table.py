"""`python -m benchmarks`: every row of the table, ours beside the authors' way, in one run; JSON beside it."""

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.evaluation import evaluation_rows
from benchmarks.ingest import ingest_rows
from benchmarks.neighbours import neighbour_rows
from benchmarks.objective import objective_memory_rows, objective_rows
from benchmarks.processes import memory_rows, start_rows
from benchmarks.rows import Row, print_rows, write_json
from benchmarks.step import product_rate, step_rows
from benchmarks.timing import Timing
from benchmarks.views import view_rows, write_random_store
from cmd_tune.compute.allocator import keep_freed_memory

SECTIONS = ("step", "objective", "views", "evaluation", "neighbours", "ingest", "start", "memory")
PRECISIONS = ["float32", "bfloat16"]
CLIPS = 600
LONG = 1024  # hidden size from which a step is run once, without a warm-up, on a CPU


def main(
    sections: Annotated[list[str] | None, typer.Argument(help=f"Which of: {', '.join(SECTIONS)}.")] = None,
    hidden: Annotated[list[int] | None, typer.Option(help="Hidden size of the steps; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each way, in turn.", min=1)] = 5,
    threads: Annotated[int | None, typer.Option(help="CPU threads. [default: all]", min=1)] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Where the figures go as JSON.")] = Path("benchmarks.json"),
) -> None:
    """Measure, print a table a section, write all runs as JSON."""
    chosen = sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        raise typer.BadParameter(f"'{min(unknown)}' is not one of {', '.join(SECTIONS)}")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    on = torch.device(device)
    if on.type == "cuda":
        on = torch.device("cuda", on.index or 0)  # PyTorch refuses to set a device without an index
        torch.cuda.set_device(on)
    console = Console(width=150)
    done: dict[str, list[Row]] = {}

    def show(title: str, rows: list[Row]) -> None:
        done[title] = rows
        print_rows(title, rows, console)
        write_json(out, done)

    precisions = [*PRECISIONS, "tf32"] if on.type == "cuda" else PRECISIONS
    rates = [Row(f"products, {name}", Timing((product_rate(name, on) / 1e9,)), unit="GFLOP/s") for name in precisions]
    show("The ceiling", rates)
    with tempfile.TemporaryDirectory() as folder:
        store = write_random_store(Path(folder) / "random.arrow", CLIPS)
        if "step" in chosen:
            for size in hidden or [64, 128, 256, 1024]:
                times = 1 if size >= LONG and device == "cpu" else repeats
                show(f"A training step, H = {size}", step_rows(size, precisions, on, times))
        if "objective" in chosen:
            rows = objective_rows(on, repeats)
            show("The objective, by modalities", rows if device != "cpu" else rows + objective_memory_rows())
        if "views" in chosen:
            show("Augmented views", view_rows(store, on, repeats))
        if "evaluation" in chosen:
            rows = [row for size in hidden or [64, 256] for row in evaluation_rows(store, size, on, min(repeats, 3))]
            show("Evaluation", rows)
        if "neighbours" in chosen:
            show("Nearest neighbours", neighbour_rows(on, min(repeats, 3)))
        if "ingest" in chosen:
            show("Ingest", ingest_rows(Path(folder)))
        if "start" in chosen:
            show("A trial's start", start_rows(Path(folder), repeats))
        if "memory" in chosen:
            show("Memory", [row for size in hidden or [64, 256] for row in memory_rows(size, PRECISIONS)])
