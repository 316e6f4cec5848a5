"""Training and evaluation on a device that is not the CPU, where there is no GPU: nothing mixes devices, no step waits.

The second device is the host's memory under another name (device.cpp). What it cannot show are a GPU's own kernels and
rounding: tests/test_gpu.py.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@pytest.fixture(scope="module")
def told(tmp_path_factory, tiny_store):
    """What run.py says of a few runs on both devices."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler to make the device with")
    library = tmp_path_factory.mktemp("device") / "device.so"
    parts = Path(torch.__file__).parent
    paths = ["-I", parts / "include", "-I", parts / "include/torch/csrc/api/include", "-L", parts / "lib"]
    command = [compiler, "-std=c++20", "-shared", "-fPIC", HERE / "device.cpp", "-o", library, *paths]
    made = subprocess.run([*command, "-ltorch_cpu", "-lc10"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"PyTorch {torch.__version__} has other headers than the device is written for")
    command = [sys.executable, HERE / "run.py", library, tiny_store.path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_device_refuses_to_mix_and_sees_a_copy(told):
    assert "two devices" in told["refused"]
    assert told["seen"] == 1


def test_an_epoch_crosses_once_with_its_draws_alone(told):
    """Six tensors say what the views are made of; once also which joints are parents."""
    for run in told["runs"]:
        (first, rest), *later = run["second"]["crossings"]
        assert first <= 6 + 1
        assert rest == 0
        assert later == [[0, 0]] * len(later)
        assert run["cpu"]["crossings"] == [[0, 0]] * (1 + len(later))


def test_losses_are_those_of_the_cpu(told):
    for run in told["runs"]:
        for name, value in run["cpu"]["totals"].items():
            assert run["second"]["totals"][name] == pytest.approx(value, rel=1e-2 if "accuracy" in name else 2e-3), name


def test_scores_are_those_of_the_cpu(told):
    """In float32; but for a query of 24 or of 12 where two neighbours, or two classes, are as good as equal."""
    scores = told["runs"][0]
    for name, value in scores["cpu"]["scores"].items():
        assert scores["second"]["scores"][name] == pytest.approx(value, abs=100 / 12 + 1e-3), name
    same = [
        scores["second"]["scores"][name] == pytest.approx(v, abs=1e-3) for name, v in scores["cpu"]["scores"].items()
    ]
    assert sum(same) >= 0.9 * len(same)
