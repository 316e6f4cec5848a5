"""Copies to a device."""

import torch

from cmd_tune.compute.device import device_here, to_device

CPU = torch.device("cpu")


def test_the_device_is_the_gpu_of_this_process_or_the_processor():
    """With its number: a tensor of "cuda" alone would be on another device than one of "cuda:1"."""
    assert device_here() == (torch.device("cuda:0") if torch.cuda.is_available() else CPU)


def test_what_is_there_already_is_not_copied():
    x = torch.arange(3)
    assert to_device(x, CPU) is x


def test_a_copy_has_the_values_and_the_type():
    """Of a view that is not contiguous, and of one without rows, too."""
    x = torch.arange(12.0, dtype=torch.float16).view(3, 4).T[1:]
    for given in (x, x[:0]):
        found = to_device(given, device_here())
        assert (found.device, found.dtype) == (device_here(), torch.float16)
        assert torch.equal(found.cpu(), given)
