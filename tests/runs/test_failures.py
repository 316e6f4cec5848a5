"""What ends a run for good is one line; a defect stays what it is."""

import pytest
import torch

from cmd_tune.errors import CmdTuneError, OutOfMemory
from cmd_tune.runs.failures import named_failures

MEMORY = "^out of memory; lower batch_size, frames, hidden_size, --concurrent or --fuse$"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.OutOfMemoryError("whatever it says"),
        MemoryError(),
    ],
)
def test_what_counts_as_too_little_memory(error):
    with pytest.raises(OutOfMemory, match=MEMORY), named_failures():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        OSError("of no file"),
        ValueError("a defect"),
    ],
)
def test_a_defect_is_none(error):
    with pytest.raises(type(error)) as caught, named_failures():
        raise error
    assert caught.value is error


def test_a_file_is_named_with_the_systems_words(tmp_path):
    with pytest.raises(CmdTuneError, match=rf"^{tmp_path}/none: No such file or directory$"), named_failures():
        (tmp_path / "none").read_bytes()
