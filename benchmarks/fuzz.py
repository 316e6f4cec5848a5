"""`python -m benchmarks fuzz`: mutated inputs of every kind; each must end in success or in a line that names it.

A worker per kind takes one input after another in its own process (benchmarks/fuzz_worker.py), so that one that crashes
or hangs is seen, and the next begin in a new worker. An input is made from (seed, kind, number) alone: `--only KIND:N`
tries it again and prints what it said.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 20  # seconds that one input may take
_STARTING = 120  # … with a worker's imports
# Of a thousand inputs, how many are of each kind.
SHARES = {
    "space files": 230,
    "settings": 160,
    "layouts": 120,
    "plan files": 110,
    "command lines": 150,
    "stores": 110,
    "checkpoints": 70,
    "pickles": 20,
    "resume folders": 30,
}
WELL = ("succeeded", "one line")
OUTCOMES = (*WELL, "traceback", "unnamed", "other end", "hang", "crash")


def main(
    inputs: Annotated[int, typer.Option(min=1, help="How many inputs, of all kinds together.")] = 10_000,
    seed: Annotated[int, typer.Option(help="From which all inputs are made.")] = 0,
    only: Annotated[str | None, typer.Option(metavar="KIND[:NUMBER]", help="One kind, or one input.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write what did not end well, as lines of JSON.")] = None,
) -> None:
    """Mutated inputs; exit code 1 if one ended in a traceback, a hang or a crash."""
    kind, _, number = (only or "").partition(":")
    if kind and kind not in SHARES:
        raise typer.BadParameter(f"{kind}: known: {', '.join(SHARES)}", param_hint="--only")
    counts = {kind: round(inputs * share / sum(SHARES.values())) for kind, share in SHARES.items()}
    console = Console(width=150, highlight=False)
    table = Table("kind", "inputs", *OUTCOMES, box=None)
    bad = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        templates = Path(folder) / "templates"
        subprocess.run([sys.executable, "-m", "benchmarks.fuzz_templates", templates], cwd=ROOT, check=True)  # noqa: S603
        for each in [kind] if kind else SHARES:
            first, last = (int(number), int(number) + 1) if number else (0, counts[each])
            ends: Counter[str] = Counter()
            for ended in tried(each, seed, first, last, templates, Path(folder) / each.replace(" ", "-")):
                ends[ended["outcome"]] += 1
                if ended["outcome"] not in WELL or number:
                    bad += [ended] if ended["outcome"] not in WELL else []
                    console.print(f"{each}:{ended['number']}: {ended['outcome']}\n{ended['said']}", markup=False)
            table.add_row(each, f"{last - first:,}", *(f"{ends[outcome]:,}" for outcome in OUTCOMES))
    console.print(table)
    if out is not None:
        out.write_text("".join(json.dumps(one) + "\n" for one in bad), encoding="utf-8")
    if bad:
        raise typer.Exit(1)


def tried(kind: str, seed: int, first: int, last: int, templates: Path, place: Path) -> Iterator[dict[str, Any]]:
    """What became of each input of a kind: its number, outcome, and what it said."""
    while first < last:
        words = [sys.executable, "-m", "benchmarks.fuzz_worker", kind, seed, first, last, templates, place]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        process = subprocess.Popen(  # noqa: S603
            [str(word) for word in words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, start_new_session=True
        )
        lines: Queue[bytes] = Queue()
        Thread(target=_pass_on, args=(process, lines), daemon=True).start()
        try:
            patience = _STARTING
            while True:
                try:
                    line = lines.get(timeout=patience)
                except Empty:
                    yield {"kind": kind, "number": first, "outcome": "hang", "said": f"no end within {patience} s"}
                    break
                if not line:
                    if first < last:
                        code = process.wait()
                        yield {"kind": kind, "number": first, "outcome": "crash", "said": f"the worker ended: {code}"}
                    break
                patience = PATIENCE
                ended = json.loads(line)
                if "outcome" in ended:
                    yield {"kind": kind, **ended}
                    first += 1
        finally:
            _stop(process)
        first += 1


def _pass_on(process: "subprocess.Popen[bytes]", lines: "Queue[bytes]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(b"")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
