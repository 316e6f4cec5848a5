"""`python -m benchmarks gpu`: parts bounded in time, each figure written as it comes; tried on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from benchmarks.gpu import PARTS, installed, results

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
FIGURE = 'print(\'{"name": "a figure", "text": "a figure: 1 s"}\', flush=True)'


def ended(code: str, seconds: float = 60) -> list[dict]:
    return list(results("a part", [sys.executable, "-c", code], seconds, dict(os.environ)))


def test_a_part_that_fails_keeps_its_figures_and_says_why() -> None:
    figure, end = ended(f"{FIGURE}; raise OSError('no card')")
    assert figure == {"part": "a part", "name": "a figure", "text": "a figure: 1 s"}
    assert (end["state"], end["why"]) == ("failed", "OSError: no card")
    assert "Traceback" in end["output"]


def test_a_part_that_hangs_is_stopped_with_its_children() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    started = monotonic()
    figure, end = ended(f"{FIGURE}\n{child}", seconds=3)
    assert figure["name"] == "a figure"
    assert (end["state"], end["why"]) == ("stopped", "it was not done in 3 s")
    assert monotonic() - started < 300  # it does not wait for the child, which holds the pipe


def test_a_part_without_time_is_not_begun() -> None:
    assert ended("raise SystemExit", seconds=0) == [
        {"part": "a part", "state": "not begun", "why": "the minutes were up"}
    ]


def test_wheels_are_installed_beside_the_parts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "gpu", "--wheels", str(tmp_path), "--out", str(tmp_path / "out")]
    wide = os.environ | {"COLUMNS": "300"}
    done = subprocess.run(command, cwd=ROOT, env=wide, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has no .whl file" in " ".join(done.stderr.split())
    with installed(None) as environment:
        assert str(ROOT) in environment["PYTHONPATH"].split(os.pathsep)


@pytest.mark.slow
def test_the_command_writes_every_part(tmp_path: Path) -> None:
    """Too short for all of them: those that have no time left are named."""
    out = tmp_path / "gpu.jsonl"
    command = [sys.executable, "-m", "benchmarks", "gpu", "--device", "cpu", "--minutes", "0.35", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    states = {line["part"]: line["state"] for line in lines if "state" in line}
    assert list(states) == [part.name for part in PARTS]
    assert states["machine"] == "done"
    assert states["pretrain"] == "not begun"
    products = [line for line in lines if line["part"] == "machine" and "ours" in line]
    assert [line["name"] for line in products] == [f"products, {p}" for p in ("bfloat16", "tf32", "float32")]
    assert all(line["median"] > 0 and line["text"] in done.stdout for line in products)


def test_parts_need_no_ray_optuna_or_mlflow() -> None:
    code = "import sys, benchmarks.gpu_parts; print({'ray', 'optuna', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_what_runs_the_parts_needs_no_pydantic_or_torch() -> None:
    code = "import sys, benchmarks.gpu; print({'pydantic', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
