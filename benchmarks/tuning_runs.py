"""`python -m benchmarks tuning-runs`: pretrains each setting of a grid with several seeds, and keeps learning curves.

What comes of it, tuning_runs.parquet, is what ways of searching are compared on (benchmarks/tuning.py). No run looks at
the test set.
"""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console

GRID: dict[str, tuple[float, ...]] = {
    "teacher_temperature": (0.01, 0.05, 0.1, 0.2),
    "student_temperature": (0.1, 0.3, 1.0),
    "learning_rate": (0.001, 0.004, 0.016),
    "key_momentum": (0.97, 0.995),
}
SEEDS = 5
EVERY = 4  # epochs between two validations
SCORES = ("val/knn/fused", "val/linear/fused")
TABLE = Path(__file__).with_name("tuning_runs.parquet")

Run = tuple[dict[str, float], int]  # values and seed


def main(
    data: Annotated[Path, typer.Option(help="The store, as of `cmd_tune ingest nw-ucla`.")],
    out: Annotated[Path, typer.Option(help="The table.")] = TABLE,
    processes: Annotated[int, typer.Option(help="Runs at once, of a thread each.", min=1)] = 2,
) -> None:
    """Pretrain what is not in the table yet, and write it anew: also on Ctrl-C, after which a later command goes on.

    What is done lies in a folder beside the table meanwhile.
    """
    console = Console()
    done = out.with_suffix(".runs")
    done.mkdir(parents=True, exist_ok=True)
    runs = dict(enumerate(_runs()))
    kept: dict[int, list[dict[str, Any]]] = {}
    for row in pq.read_table(out).to_pylist() if out.exists() else ():
        kept.setdefault(row["run"], []).append(row)
    left = [number for number in runs if number not in kept and not _path(done, number).exists()]
    start = perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=os.nice, initargs=(15,)) as pool:
        waiting = [pool.submit(_pretrain, runs[number], data, _path(done, number)) for number in left]
        try:
            for count, ended in enumerate(as_completed(waiting), 1):
                ended.result()
                each = (perf_counter() - start) / count
                if count % 10 == 0:
                    minutes = each * (len(left) - count) / 60
                    console.print(f"{count} of {len(left)} runs, {each:.1f} s each, {minutes:.0f} min left")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
    for number, run in runs.items():
        if number not in kept and _path(done, number).exists():
            kept[number] = list(_rows(number, run, _path(done, number)))
    records = [row for _, rows in sorted(kept.items()) for row in rows]
    pq.write_table(pa.Table.from_pylist(records), out, compression="zstd")
    console.print(f"{out}: {len(kept)} runs, {len(records)} rows, {out.stat().st_size / 1e3:.0f} kB")


def _runs() -> Iterator[Run]:
    """All settings with the first seed, then all with the second: what is done is whole whenever it is cut."""
    for seed in range(SEEDS):
        for values in product(*GRID.values()):
            yield dict(zip(GRID, values, strict=True)), seed


def _path(done: Path, number: int) -> Path:
    return done / f"{number:03d}.json"


def _pretrain(run: Run, data: Path, path: Path) -> None:
    """Write the records of the run's epochs; of one that diverges, those before."""
    import torch

    from cmd_tune.errors import Diverged
    from cmd_tune.files import write_text
    from cmd_tune.runs.data_source import open_data
    from cmd_tune.runs.pretrain_and_score import run as pretrain
    from cmd_tune.settings import make_settings

    torch.set_num_threads(1)
    values, seed = run
    settings = make_settings(
        "quick", ("run", {**values, "seed": seed, "evaluate_every": EVERY, "checkpoint_every": 40})
    )
    records: list[Mapping[str, float]] = []
    with TemporaryDirectory() as folder:
        source, _ = open_data(Path(folder), data, None)
        with suppress(Diverged):
            pretrain(settings, source, Path(folder), records.append)
    write_text(path, json.dumps(records))


def _rows(number: int, run: Run, path: Path) -> Iterator[dict[str, Any]]:
    """A row for each validation: the run's values, the epoch, its loss, scores in percent, seconds of an epoch."""
    values, seed = run
    for record in json.loads(path.read_text(encoding="utf-8")):
        if SCORES[0] in record:
            scores = {name: record[name] for name in SCORES}
            epoch = {"epoch": int(record["epoch"]), "loss": record["loss/total"], "seconds": record["seconds"]}
            yield {"run": number, **values, "seed": seed, **epoch, **scores}
