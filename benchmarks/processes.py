"""What a process costs from outside: a trial's start, a step's peak memory. Each measured in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from benchmarks.timing import Timing
from cmd_tune.data.ingest.ingest import store_clips
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.synthetic import synthesize

ROOT = Path(__file__).resolve().parent.parent

# A trial of the quick preset, one epoch, twice in one process, as Ray reuses them: seconds of each part.
_TRIAL = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from cmd_tune.settings import make_settings
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.runs.data_source import DataSource
imported = time.perf_counter()
source, folder = DataSource(Path(sys.argv[1]), "xview"), Path(sys.argv[2])
settings = make_settings("quick", ("benchmark", {"epochs": 1, "evaluate_every": 1}))
seconds = {"imports": imported - start}
for name in ("first", "second"):
    start, records = time.perf_counter(), []
    run(settings, source, folder / name, records.append)
    seconds[name] = time.perf_counter() - start - records[0]["seconds"]
print(json.dumps(seconds))
"""

# Peak memory of two steps, above what the process had before it built the model; MiB.
_MEMORY = """
import json, sys
import torch
from benchmarks.memory import mebibytes
from benchmarks.step import AuthorsStep, OurStep, our_inputs, paper_settings
from cmd_tune.compute.allocator import keep_freed_memory
way, hidden_size, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
views = [torch.randn(64, 3, 64, 25, 2) for _ in range(2)]
if way == "ours":
    keep_freed_memory()
    views = [our_inputs(x) for x in views]
before = mebibytes("VmRSS")
step = {"ours": OurStep, "theirs": AuthorsStep}[way](paper_settings(hidden_size, precision), torch.device("cpu"))
for _ in range(2):
    step(*views)
print(json.dumps(mebibytes("VmHWM") - before))
"""


def child(code: str, *arguments: str) -> Any:
    """What a process that runs this code prints last, as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


def start_rows(folder: Path, repeats: int) -> list[Row]:
    """What a trial of the quick preset takes beside its training: in a new process, and in one that is reused."""
    actions = folder / "actions.arrow"
    store_clips(synthesize(), actions, dataset="synthetic", layout=LAYOUTS["ntu-25"], normalization="2s-agcn")
    runs = [child(_TRIAL, str(actions), str(folder / f"start{i}")) for i in range(repeats)]
    names = {"imports": "imports", "first": "a first trial, beside its epoch", "second": "a next one in that process"}
    return [Row(label, Timing(tuple(run[name] for run in runs))) for name, label in names.items()]


def memory_rows(hidden_size: int, precisions: list[str]) -> list[Row]:
    """Peak memory of training steps, above that of the process before."""
    theirs = Timing((child(_MEMORY, "theirs", str(hidden_size), "float32"),))
    return [
        Row(
            f"peak memory, H = {hidden_size}, {precision}",
            Timing((child(_MEMORY, "ours", str(hidden_size), precision),)),
            theirs,
            unit="MiB",
        )
        for precision in precisions
    ]
