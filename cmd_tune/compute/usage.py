"""What this process takes of its machine, under the names that MLflow has for system metrics."""

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic, process_time

import torch

USAGE = "system/"  # begins the names
_MB = 1e6


class Usage:
    """Measures this process from one call to the next."""

    def __init__(self) -> None:
        self._wall, self._cpu = monotonic(), process_time()

    def since_last(self) -> dict[str, float]:
        """CPU time over time since the last call, in percent of one CPU; memory in megabytes, now.

        Of a GPU: memory that PyTorch holds on it, and how busy it is now, with all processes on it, where
        `nvidia-ml-py` is installed.
        """
        wall, cpu = monotonic(), process_time()
        busy = 100 * (cpu - self._cpu) / max(wall - self._wall, 1e-9)
        self._wall, self._cpu = wall, cpu
        found = {"cpu_utilization_percentage": round(busy, 1)}
        with suppress(OSError, ValueError, IndexError):  # not Linux
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            found["system_memory_usage_megabytes"] = round(pages * os.sysconf("SC_PAGE_SIZE") / _MB, 1)
        if torch.cuda.is_available():
            found["gpu_0_memory_usage_megabytes"] = round(torch.cuda.memory_reserved() / _MB, 1)
            with suppress(Exception):  # of a library that may not be there, and a driver that may not tell
                found["gpu_0_utilization_percentage"] = float(torch.cuda.utilization())
        return {USAGE + name: value for name, value in found.items()}
