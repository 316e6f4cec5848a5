"""What the C library does with memory that was freed, seen from outside of a process."""

import platform
import subprocess
import sys

import pytest

CODE = """
import sys
from pathlib import Path
import numpy as np
from cmd_tune.compute.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
x = np.ones(2**25)  # 256 MiB
del x
pages = int(Path("/proc/self/statm").read_text().split()[1])
print(pages * 4096 >= 2**28)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library decides by itself")
@pytest.mark.parametrize(("word", "kept"), [("keep", "True"), ("leave", "False")])
def test_freed_memory_is_kept(word, kept):
    done = subprocess.run([sys.executable, "-c", CODE, word], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == kept
