"""The kernels' machine code for GPUs that are not here: that it is made, and is the fast kind."""

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

COMPILE = Path(__file__).parent / "compile_kernels.py"
GPUS = (80, 86, 90)  # compute capabilities

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="no Triton for this system")


@cache
def compiled(capability):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(COMPILE), str(capability)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("capability", GPUS)
def test_bfloat16_kernels_spill_nothing_and_move_no_single_values(capability):
    kernels = compiled(capability)["gru"]
    assert set(kernels) == {"forward", "forward, nothing kept", "backward", "backward, last only"}
    for name, kernel in kernels.items():
        assert kernel["spilled"] == 0, name
        assert kernel["narrow"] == 0, name


@pytest.mark.parametrize("capability", GPUS)
def test_a_row_is_held_in_registers(capability):
    """At the paper's sizes a student has three rows to hold, and a part of one stays in memory; a longer one's does."""
    kernels = compiled(capability)["objectives"]
    assert len(kernels) == 4 * 6 + 3 * 3
    for name, kernel in kernels.items():
        if "learn" in name and "16384" in name:
            assert kernel["spilled"] <= 256, name
        elif "131072" not in name:
            assert kernel["spilled"] == 0, name
