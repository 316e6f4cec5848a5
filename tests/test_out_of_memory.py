"""Too little memory is told from other failures, and ends a command in one line: by real limits on real commands."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import torch
import yaml

from cmd_tune.errors import OutOfMemory
from cmd_tune.out_of_memory import ADVICE, is_out_of_memory
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Ending
from cmd_tune.runs.pretrain_and_score import baseline_scores
from cmd_tune.train.checkpoint import load_checkpoint, save_checkpoint
from cmd_tune.train.loop import build_pretrainer

HUGE = 2**50  # more than any machine has
# A process that has imported everything forks for each command; the limit is for what the command itself needs.
LIMITED = """
import json, os, resource, sys
import cmd_tune.cli, cmd_tune.runs.evaluation_run, cmd_tune.runs.single_run, mlflow, sqlalchemy
for job in map(json.loads, sys.stdin):
    child = os.fork()
    if not child:
        said = os.open(job["said"], os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(job["folder"])
        sys.argv[1:] = job["words"]
        (now,) = [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize")]
        resource.setrlimit(resource.RLIMIT_AS, (now + job["limit"], now + job["limit"]))
        cmd_tune.cli.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        torch.OutOfMemoryError("whatever it says"),
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError(errno.ENOMEM, "Cannot allocate memory", "some.file"),
        OSError("Memory mapping file failed: Cannot allocate memory"),
    ],
)
def test_what_counts(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        OSError(errno.ENOENT, "No such file or directory", "out of memory.txt"),
        ValueError("out of memory"),
        KeyError("out of memory"),
    ],
)
def test_what_does_not(error):
    assert not is_out_of_memory(error)


def test_allocators_are_told_by_what_they_really_raise():
    for allocate in (lambda: torch.empty(HUGE), lambda: bytearray(HUGE), lambda: pa.allocate_buffer(HUGE)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)


def test_baselines_say_so(tiny, tiny_store, tmp_path):
    with pytest.raises(OutOfMemory, match=r"^out of memory; lower "):
        baseline_scores(tiny(queue_size=HUGE), DataSource(tiny_store.path, "xview"), tmp_path)


def test_a_step_of_the_end_says_so(tmp_path):
    ending = Ending(tmp_path)
    ending.attempt("knn of the checkpoint", lambda: torch.empty(HUGE))
    assert ending.troubles == [f"knn of the checkpoint: {ADVICE}"]


@pytest.fixture(scope="module")
def forks():
    """The process that forks."""
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", LIMITED], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def limited(forks, tmp_path):
    """Runs a command that has `limit` bytes beyond what it begins with.

    Returns its exit code, its lines of errors, and all that it prints.
    """

    def run(*words, limit=2**29):
        said = tmp_path / "said.txt"
        job = {"words": [*map(str, words)], "limit": limit, "folder": str(tmp_path), "said": str(said)}
        print(json.dumps(job), file=forks.stdin, flush=True)
        code = int(forks.stdout.readline())
        lines = said.read_text().splitlines()
        return code, [line for line in lines if line.startswith("error: ")], said.read_text()

    return run


LONG = {"frames": 12_000, "batch_size": 32}  # a batch of two views of three modalities takes 0.6 GB before any encoder


def test_pretrain_ends_in_a_line(limited, tiny, tiny_store, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(tiny(**LONG).model_dump(mode="json")))
    code, errors, said = limited("pretrain", "--data", tiny_store.path, "--config", config, "--name", "it")
    assert code == 1, said
    assert errors == ["error: out of memory; lower batch_size, frames, hidden_size, --concurrent or --fuse"]
    assert "Traceback" not in said


def test_evaluate_ends_in_a_line_for_each_part(limited, tiny, tiny_store, tmp_path):
    settings, path = tiny(**LONG), tmp_path / "checkpoint.pt"
    content = {"settings": settings.model_dump(mode="json"), "history": [{"epoch": 1}]}
    save_checkpoint(path, {**content, "pretrainer": build_pretrainer(settings, tiny_store.width).state_dict()})
    words = ("evaluate", path, "--data", tiny_store.path, "--protocol", "xview", "--with", "knn", "--name", "e")
    code, errors, said = limited(*words)
    assert code == 1, said
    assert f"knn of the checkpoint: {ADVICE}" in said
    assert f"knn of the untrained encoder: {ADVICE}" in said
    assert len(errors) == 1, said
    assert "Traceback" not in said


def test_a_checkpoint_that_memory_has_no_room_for_is_not_called_damaged(limited, tiny, tiny_store, tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"settings": tiny().model_dump(mode="json"), "pretrainer": {"x": torch.zeros(2**26)}})
    code, errors, said = limited("evaluate", path, "--data", tiny_store.path, "--name", "e", limit=2**27)
    assert (code, errors) == (1, [f"error: {ADVICE}"]), said
    assert load_checkpoint(path)["pretrainer"]["x"].shape == (2**26,)
