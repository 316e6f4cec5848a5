"""`python -m benchmarks` as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import neighbours

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"COLUMNS": "150"}, capture_output=True, text=True, check=False
    )


def test_a_table_and_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = run("step", "views", "--hidden", "4", "--repeats", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert set(written["machine"]) == {"date", "processor", "gpu", "threads", "python", "torch"}
    steps = {row["name"]: row for row in written["rows"]["A training step, H = 4"]}
    whole = steps["step, H = 4, float32"]
    assert len(whole["ours"]) == len(whole["theirs"]) == 2
    assert min(whole["ours"]) > 0
    assert 0 < whole["of_peak"] < 1
    for row in written["rows"]["Augmented views"]:
        assert row["ratio"] > 0
        assert row["name"] in done.stdout


def test_neighbours_are_timed_beside_their_product(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, small in {"GALLERY": 90, "QUERIES": 40, "FEATURES": 8, "BLOCK": 16}.items():
        monkeypatch.setattr(neighbours, name, small)
    monkeypatch.setattr(neighbours, "child", lambda code: 1.0)
    nearest, votes, memory = neighbours.neighbour_rows(torch.device("cpu"), 2)
    assert nearest.name == "1-NN of 40 in 90 × 8"
    assert nearest.theirs is votes.theirs
    assert votes.ours.median > 0
    assert memory.unit == "MiB"


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    done = run("stepp", "--out", str(tmp_path / "figures.json"))
    assert done.returncode == 2
    assert "'stepp' is not one of step, objective, views, evaluation, neighbours, ingest, start, memory" in " ".join(
        done.stderr.split()
    )
