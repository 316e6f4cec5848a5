"""The parts of `python -m benchmarks gpu`, each run by itself: `python -m benchmarks.gpu_parts PART --device cuda`.

Every figure is printed as it is known, as one line of JSON. They need no Ray, Optuna or MLflow.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from benchmarks.evaluation import evaluation_rows
from benchmarks.fused import fused_rows
from benchmarks.neighbours import neighbour_rows
from benchmarks.objective import objective_rows
from benchmarks.roofline import least_seconds, measure_read_rate, recurrent_bytes
from benchmarks.rows import Row, plain_row, row_text
from benchmarks.step import CHANNELS, SHAPE, AuthorsStep, our_inputs, paper_settings, product_rate, step_flops
from benchmarks.timing import Timing, seconds, take_turns
from benchmarks.views import view_rows, write_random_store
from cmd_tune.compute.allocator import keep_freed_memory
from cmd_tune.data.ingest.ingest import store_clips
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import Store, open_store
from cmd_tune.data.synthetic import synthesize
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.pretrain_and_score import baseline_scores, run, test_scores
from cmd_tune.settings import Settings, make_settings
from cmd_tune.train.loop import (
    build_batches,
    build_optimizer,
    build_pretrainer,
    learning_rate,
    pretrain,
    round_products,
)
from cmd_tune.train.step import WARM_UP, TrainingStep, means_of, take_step

REPEATS = 12
CLIPS = 600
EPOCHS = 5  # of the loops that are timed, after a first one that compiles and captures
PRECISIONS = ("bfloat16", "tf32", "float32")
WORKERS = 2


def machine_part(device: torch.device, _: int) -> Iterator[Row]:
    """What the figures are of, and its rate of products."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}"
    note = f"{date.today().isoformat()}, {card}, {versions}, {torch.get_num_threads()} CPU threads"
    for precision in PRECISIONS:
        rate = product_rate(precision, device) / 1e9
        yield Row(f"products, {precision}", Timing((rate,)), unit="GFLOP/s", note=note)


def step_part(device: torch.device, hidden: int) -> Iterator[Row]:
    """A step at the paper's frames and batch, views given: as it is taken in the loop, and operation by operation."""
    torch.manual_seed(0)
    views_NCTVP = [torch.randn(64, 3, 64, SHAPE[0], SHAPE[2], device=device) for _ in range(2)]
    views_MBTX = [our_inputs(x) for x in views_NCTVP]
    theirs = timed_authors(hidden, views_NCTVP, device)
    for precision in PRECISIONS:
        settings = paper_settings(hidden, precision)
        with rounding(settings):
            whole, way = timed_step(settings, views_MBTX, device, whole=True)
            parts, parts_way = timed_step(settings, views_MBTX, device, whole=False)
            if device.type == "cuda":
                with patch("cmd_tune.train.weight_pass.kernels", return_value=None):
                    in_turn, in_turn_way = timed_step(settings, views_MBTX, device, whole=True)
        flops, rate = step_flops(settings), product_rate(precision, device)
        name = f"step, H = {hidden}, {precision}"
        yield Row(name, whole, theirs, flops / whole.median / rate, note=way)
        yield Row("  operation by operation", parts, theirs, note=parts_way)
        if device.type == "cuda":
            yield Row("  optimiser, keys and copies one after the other", in_turn, theirs, note=in_turn_way)
            read_rate = measure_read_rate(recurrent_bytes(settings), device)
            least = Timing((least_seconds(settings, flops, rate, read_rate),))
            yield Row("  least by the roofline", least, note=f"weights at {read_rate / 1e9:,.0f} GB/s")


def timed_authors(hidden: int, views_NCTVP: Sequence[Tensor], device: torch.device) -> Timing:
    """Their step, in a function of its own so that its memory is free afterwards."""
    step = AuthorsStep(paper_settings(hidden, "float32"), device)
    step.apart = False
    return take_turns({"theirs": lambda: step(*views_NCTVP)}, 3)["theirs"]


def timed_step(
    settings: Settings, views_MBTX: Sequence[Tensor], device: torch.device, *, whole: bool
) -> tuple[Timing, str]:
    """Each of some steps, waited for, and the path taken. whole: as the loop steps; else operation by operation."""
    pretrainer = build_pretrainer(settings, CHANNELS).to(device)
    pretrainer.train()
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    in_loop = TrainingStep(pretrainer, optimizer, lambda query, key: (query, key), device) if whole else None

    def step() -> None:
        if in_loop:
            in_loop(views_MBTX, settings.learning_rate, goes_on=[True])
        else:
            take_step(pretrainer, optimizer, *views_MBTX)

    for _ in range(WARM_UP + 1 if device.type == "cuda" else 1):
        step()
    runs = tuple(seconds(step) for _ in range(REPEATS))
    if in_loop and in_loop.captures:
        return Timing(runs), "one graph"
    encoders = (pretrainer.online, pretrainer.momentum)
    ways = {way for one in encoders if isinstance(one, GRUEncoder) for way, _ in one.recurrence.chosen.values()}
    return Timing(runs), ", ".join(sorted(ways)) or "operation by operation"


def loop_part(device: torch.device, _: int) -> Iterator[Row]:
    """The quick preset as the loop takes it: every epoch with its draws, moves, views, steps and sums."""
    with random_store(device) as store:
        for precision in ("float32", "bfloat16"):
            settings = make_settings("quick", ("benchmark", {"precision": precision}))
            with rounding(settings):
                yield from loop_rows(settings, store, device)


def loop_rows(settings: Settings, store: Store, device: torch.device) -> Iterator[Row]:
    pretrainer = build_pretrainer(settings, store.width).to(device)
    pretrainer.train()
    batches = build_batches(settings, store, torch.arange(len(store)).numpy(), device)
    take = TrainingStep(pretrainer, build_optimizer(settings, pretrainer.online.parameters()), batches.views, device)

    def epoch(number: int) -> None:
        take.begin_epoch()
        for step, prepared in enumerate(batches.prepare(number)):
            take(prepared, learning_rate(settings, 1, step, len(batches)), goes_on=[step + 1 < len(batches)])
        batches.look_ahead(number + 1)
        means_of(take.sums, len(batches), pretrainer.objective, settings.modalities)

    first = seconds(lambda: epoch(1))
    runs = [seconds(lambda number=number: epoch(number)) / len(batches) for number in range(2, 2 + EPOCHS)]  # type: ignore[misc]
    note = f"{len(batches)} steps an epoch; the first epoch {first:.2f} s"
    yield Row(f"quick preset in the loop, {settings.precision}, a step", Timing(tuple(runs)), note=note)
    prepared = next(iter(batches.prepare(1)))

    def again() -> None:
        for _ in range(len(batches)):
            take(prepared, settings.learning_rate, goes_on=[True])

    runs = [seconds(again) / len(batches) for _ in range(EPOCHS)]
    yield Row("  one batch's step again and again", Timing(tuple(runs)), note="one graph" if take.captures else "")


def views_part(device: torch.device, _: int) -> Iterator[Row]:
    with random_store(torch.device("cpu")) as store:
        yield from view_rows(store, device, REPEATS)


def objective_part(device: torch.device, _: int) -> Iterator[Row]:
    yield from objective_rows(device, REPEATS)


def evaluation_part(device: torch.device, _: int) -> Iterator[Row]:
    with random_store(torch.device("cpu")) as store:
        yield from evaluation_rows(store, 256, device, 3)
    yield from neighbour_rows(device, 3)


def workers_part(device: torch.device, _: int) -> Iterator[Row]:
    """Two workers that talk by gloo and share the card, beside one: seconds a step, and whether their losses agree."""
    with tempfile.TemporaryDirectory() as folder:
        write_random_store(Path(folder) / "random.arrow", CLIPS)
        records = {}
        for workers in (1, WORKERS):
            spawn(train_worker, (workers, folder, device.type), nprocs=workers)
            records[workers] = json.loads((Path(folder) / f"{workers}.json").read_text(encoding="utf-8"))
    one, two = (Timing(tuple(r["seconds"] / r["steps"] for r in records[n][1:])) for n in (1, WORKERS))
    apart = max(abs(a["loss/total"] / b["loss/total"] - 1) for a, b in zip(*records.values(), strict=True))
    yield Row("quick preset, one worker, a step", one)
    yield Row("  two workers by gloo on one device", two, note=f"losses differ by {apart:.1e} of themselves at most")


def train_worker(rank: int, workers: int, folder: str, device_type: str) -> None:
    """One process of `workers_part`; rank 0 leaves its records in the folder."""
    meeting = f"file://{folder}/meeting-{workers}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    settings = make_settings("quick", ("benchmark", {"epochs": 3}))
    device = torch.device(device_type)
    store = open_store(Path(folder) / "random.arrow").on_device_if_it_fits(device)
    records: list[dict[str, float]] = []
    place = Path(folder) / f"{workers}-{rank}"
    place.mkdir()
    clips_N = torch.arange(len(store)).numpy()
    pretrain(settings, store, clips_N, folder=place, evaluate=lambda _: {}, report=records.append, device=device)
    if rank == 0:
        steps = len(store) // settings.batch_size
        lines = json.dumps([record | {"steps": steps} for record in records])
        (Path(folder) / f"{workers}.json").write_text(lines, encoding="utf-8")
    dist.destroy_process_group()


def pretrain_part(device: torch.device, _: int) -> Iterator[Row]:
    """The quick preset on made-up actions, from the store to the test set's scores. `run` takes a GPU where one is."""
    with tempfile.TemporaryDirectory() as folder:
        source = made_up_source(Path(folder))
        settings = make_settings("quick")
        records: list[dict[str, float]] = []
        started = perf_counter()
        run(settings, source, Path(folder), records.append)
        taken = perf_counter() - started
        epochs = Timing(tuple(record["seconds"] for record in records))
        yield Row("an epoch of the quick preset on made-up actions", epochs, note=_scores(records[-1], "val/"))
        yield Row(f"all its {len(records)} epochs, validated", Timing((taken,)))
        started = perf_counter()
        scores = test_scores(settings, source, Path(folder))
        yield Row("the test set's scores", Timing((perf_counter() - started,)), note=_scores(scores, "test/"))
        started = perf_counter()
        raw, untrained = baseline_scores(settings, source, Path(folder))
        note = f"raw: {_scores(raw, 'test/')}; untrained: {_scores(untrained, 'test/')}"
        yield Row("the baselines' scores", Timing((perf_counter() - started,)), note=note)


def fused_part(device: torch.device, _: int) -> Iterator[Row]:
    """Quick trials on made-up actions, more and more of them side by side."""
    counts = (1, 2, 4, 8, 16) if device.type == "cuda" else (1, 2)
    with tempfile.TemporaryDirectory() as folder:
        source = made_up_source(Path(folder))
        for precision in ("bfloat16", "float32") if device.type == "cuda" else ("float32",):
            settings = make_settings("quick", ("benchmark", {"precision": precision, "epochs": 10}))
            yield from fused_rows(settings, source, device, counts)


def made_up_source(folder: Path) -> DataSource:
    """The made-up actions, written into a folder."""
    path, layout = folder / "made.arrow", LAYOUTS["ntu-25"]
    store = store_clips(synthesize(), path, dataset="synthetic", layout=layout, normalization="2s-agcn")
    return DataSource(store.path, split_store(store, None)[0])


def _scores(scores: dict[str, float], prefix: str) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in scores.items() if name.startswith(prefix))


@contextmanager
def random_store(device: torch.device) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield write_random_store(Path(folder) / "random.arrow", CLIPS).on_device_if_it_fits(device)


@contextmanager
def rounding(settings: Settings) -> Iterator[None]:
    """Products rounded as the settings say, then as PyTorch does by default."""
    round_products(settings)
    yield
    round_products(make_settings("paper"))


PARTS: dict[str, Callable[[torch.device, int], Iterator[Row]]] = {
    "machine": machine_part,
    "step": step_part,
    "loop": loop_part,
    "views": views_part,
    "objective": objective_part,
    "evaluation": evaluation_part,
    "workers": workers_part,
    "pretrain": pretrain_part,
    "fused": fused_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", required=True)
    parser.add_argument("--hidden", type=int, default=0)
    given = parser.parse_args()
    keep_freed_memory()
    device = torch.device("cuda", 0) if given.device == "cuda" else torch.device(given.device)
    for row in PARTS[given.part](device, given.hidden):
        line: dict[str, Any] = {**plain_row(row), "median": median(row.ours.runs), "text": row_text(row)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
