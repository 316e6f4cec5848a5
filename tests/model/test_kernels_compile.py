"""The kernels' machine code for GPUs that are not here: that it is made, and is the fast kind."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

COMPILE = Path(__file__).parent / "compile_kernels.py"
GPUS = (80, 86, 90)  # compute capabilities

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec("triton") is None, reason="no Triton for this system"),
]


@pytest.fixture(scope="module", params=GPUS)
def kernels(request):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    command = [sys.executable, str(COMPILE), str(request.param)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_frames_kernels_spill_nothing_and_move_no_single_values(kernels):
    frames = kernels["frames"]
    assert set(frames) == {"forward", "forward, nothing kept", "backward", "backward, last only"}
    for name, kernel in frames.items():
        assert kernel["spilled"] == 0, name
        assert kernel["narrow"] == 0, name


def test_a_row_is_held_in_registers(kernels):
    """At the paper's sizes a student has three rows to hold, and a part of one stays in memory; a longer one's does."""
    objectives = kernels["objectives"]
    assert len(objectives) == 4 * 6 + 3 * 3
    for name, kernel in objectives.items():
        if "learn" in name and "16384" in name:
            assert kernel["spilled"] <= 256, name
        elif "131072" not in name:
            assert kernel["spilled"] == 0, name


def test_kernels_of_all_frames_spill_nothing_and_need_no_more_memory_than_said(kernels):
    """Up to the largest sizes that they take. Only rows of an odd H are moved value by value."""
    sequences = kernels["sequences"]
    assert len(sequences) == 14
    for name, kernel in sequences.items():
        assert kernel["spilled"] == 0, name
        assert kernel["shared"] <= kernel["room"] <= 227 * 1024, name
        assert (kernel["narrow"] > 0) == (name.endswith("bfloat16, tf32 False, H 19")), name


def test_weights_are_read_and_written_four_at_a_time(kernels):
    """A thread has eight: two accesses of each tensor, whose float32 are 16 bytes each, two copies' are one of 16."""
    weights = kernels["weights"]
    assert len(weights) == 8
    tensors = {"_move_keys": 3, "_sgd": 5, "_adamw": 9}  # reads and writes, without those of a sum
    for name, kernel in weights.items():
        assert kernel["spilled"] == kernel["narrow"] == 0, name
        accesses = tensors[name.split(",")[0]] + 2 * ("'keeps': True" in name)
        assert kernel["double"] == 0, name  # of which cards for graphics do a thirty-second as many a second, or fewer
        assert kernel["wide"] == 2 * accesses + 2 * ("rounds=True" in name), name


def test_the_inputs_kernels_spill_nothing(kernels):
    assert set(kernels["inputs"]) == {"views", "views, 2-D", "statistics", "join", "standardise"}
    assert all(kernel["spilled"] == 0 for kernel in kernels["inputs"].values())
