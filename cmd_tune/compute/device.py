"""The device of this process, and copies to it that do not make the host wait for the work queued there."""

import torch
from torch import Tensor


def device_here() -> torch.device:
    """The GPU this process was given, by its number, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def gpu_count() -> int:
    """The GPUs that processes of this machine may use; CUDA_VISIBLE_DEVICES limits them."""
    return torch.cuda.device_count()


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """x on the device. A copy from ordinary memory would make the host wait; one from pinned memory is queued."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)
