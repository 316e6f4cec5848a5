"""What Linux says of this process's memory."""

from pathlib import Path


def mebibytes(name: str) -> float:
    """VmRSS, what it has now; VmHWM, the most it had. (getrusage's maximum begins with that of the parent.)"""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def forget_peak() -> None:
    """Let VmHWM begin again at VmRSS."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
