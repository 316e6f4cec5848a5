"""`python -m benchmarks soak`: kill processes of searches at random moments, resume them, and count what was lost."""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer

from benchmarks.soak_run import Soak, run_soak
from cmd_tune.formatting import count

# Those of several workers first: they come up more slowly, and leave kills for the others.
_WORKERS, _NODES = (2, 1), (2, 1)


def main(
    kills: Annotated[int, typer.Option(min=1, help="Processes to kill, over as many searches as that takes.")] = 200,
    minutes: Annotated[float, typer.Option(help="Time after which nothing is killed any more.")] = 35.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers of a trial. (default: 2, then 1)")] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Nodes of a cluster; 1: a Ray of its own. (default: 2, then 1)")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of a search.")] = 12,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a trial.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the moments and victims.")] = 0,
) -> None:
    """Soak searches in kills, until there were so many or the time is up; then the last one comes to its end.

    Exits with 1 if anything was lost, doubled, run again, or came out differently.
    """
    folder, until = Path(mkdtemp(prefix="soak-")), time.monotonic() + 60 * minutes
    kinds = [(w, n) for w in ([workers] if workers else _WORKERS) for n in ([nodes] if nodes else _NODES)]
    soaks: dict[str, Soak] = {}
    for done, (w, n) in enumerate(kinds):
        left = len(kinds) - done
        most = -(-(kills - sum(soak.kills.total() for soak in soaks.values())) // left)
        seconds = (until - time.monotonic()) / left
        name = count(w, "worker") + (f", {count(n, 'node')}" if n > 1 else "")
        place = folder / f"{w}-{n}"
        soaks[name] = run_soak(place, most, trials, epochs, workers=w, nodes=n, seconds=seconds, seed=seed)
        print(f"{name}: {soaks[name].kills.total()} kills in {soaks[name].seconds / 60:.1f} min; {place}", flush=True)
    print(table(soaks))
    sys.exit(int(not all(soak.clean for soak in soaks.values())))


def table(soaks: Mapping[str, Soak]) -> str:
    """In Markdown: the kills of each kind, then what became of the searches, a column for each soak; what gave up."""
    columns = list(soaks.values())
    kinds = [kind for kind, _ in sum((soak.kills for soak in columns), Counter[str]()).most_common()]
    rows: dict[str, list[object]] = {kind: [soak.kills[kind] for soak in columns] for kind in kinds}
    rows |= {
        "kills": [soak.kills.total() for soak in columns],
        "minutes": [f"{soak.seconds / 60:.1f}" for soak in columns],
        "sessions": [soak.sessions for soak in columns],
        "trials": [soak.trials for soak in columns],
        "lost": [soak.lost for soak in columns],
        "doubled": [soak.doubled for soak in columns],
        "differing": [soak.differing for soak in columns],
        "epochs run again": [soak.again for soak in columns],
        "trials that went on in a later session": [soak.failed for soak in columns],
        "sessions that gave up": [len(soak.gave_up) for soak in columns],
    }
    lines = [f"| | {' | '.join(soaks)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(map(str, cells))} |" for name, cells in rows.items()]
    lines += [f"gave up: {words}" for soak in columns for words in soak.gave_up]
    return "\n".join(lines)
