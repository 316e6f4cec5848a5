"""`python -m benchmarks search-start`: seconds from a command to what a person sees of its first trial, by workers."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cmd_tune.yaml_files import dump_yaml

_SPACE = {
    "method": "grid",
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {"teacher_temperature": {"values": [0.01, 0.05]}},
    "refit": "none",
}
# So small that an epoch takes a third of a second: what is left is the start.
_SETTINGS = {
    **{"hidden_size": 8, "embedding_size": 8, "layers": 2, "frames": 8, "crop_min_frames": 4, "batch_size": 8},
    **{"queue_size": 32, "topk": 8, "epochs": 1, "evaluate_every": 1, "precision": "float32"},
}
_MARKS = {
    "laid out": r"layout:",
    "first trial": r"trial-\d+ starts",
    "first report": r"trial-\d+ epoch 1",
    "end": r"\Z",
}


def main(
    repeats: Annotated[int, typer.Option(help="Searches of each kind, in turn.", min=1)] = 3,
    workers: Annotated[list[int] | None, typer.Option(help="Workers of a trial; repeatable. [default: 1, 2]")] = None,
) -> None:
    """Run small searches, and print medians with their range. The first search makes the data that all others find."""
    kinds = workers or [1, 2]
    runs: dict[int, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "space.yaml").write_text(dump_yaml(_SPACE), encoding="utf-8")
        _search(folder, "made", 1)
        for turn in range(repeats):
            for kind in kinds:
                runs[kind].append(_search(folder, f"{kind}-{turn}", kind))
    table = Table(title="Seconds from the command", title_justify="left")
    for heading in ("", *_MARKS):
        table.add_column(heading)
    for kind, found in runs.items():
        name = f"{kind} {'worker' if kind == 1 else 'workers'} a trial"
        table.add_row(name, *(_cell([run[mark] for run in found]) for mark in _MARKS))
    Console(width=120).print(table)


def _cell(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f} ({min(seconds):.1f}–{max(seconds):.1f})"


def _search(folder: Path, name: str, workers: int) -> dict[str, float]:
    """The seconds of each mark."""
    sets = [word for key, value in _SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = ["search", "--space", "space.yaml", "--name", name, "--workers", str(workers), *sets]
    start, seconds = time.perf_counter(), dict[str, float]()
    with subprocess.Popen(  # noqa: S603  (our own command)
        [sys.executable, "-m", "cmd_tune", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as search:
        said = []
        for line in search.stdout or ():
            said.append(line)
            for mark, words in _MARKS.items():
                if re.match(words, line):
                    seconds.setdefault(mark, time.perf_counter() - start)
    if search.returncode:
        raise RuntimeError("".join(said[-5:]))
    return {**seconds, "end": time.perf_counter() - start}
