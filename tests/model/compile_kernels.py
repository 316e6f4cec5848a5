"""Compiles gru_kernels.py for a compute capability, without a GPU, and prints what came of it as JSON.

Run as a process of its own, since Triton either compiles or interprets.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cmd_tune.model import gru_kernels

KINDS = {"bias": "*fp32", "carried": "*fp32", "t": "i32", "T": "i32", "B": "i32", "S": "i32", "H": "i32"}
MULTIPLES_OF_16 = {"T", "B", "H"}  # and pointers, as at the paper's sizes: known when a kernel is compiled


def compiled(kernel, capability, **flag):
    constants = {"block": 256, **flag}
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else KINDS.get(name, "*bf16") for name in names}
    aligned = [n for n in names if signature[n].startswith("*") or n in MULTIPLES_OF_16]
    source = ASTSource(
        kernel,
        signature,
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    ptx = made.asm["ptx"]
    return {
        "spilled": stack_bytes(made.asm["cubin"]),
        "narrow": len(re.findall(r"(?:ld|st)\.global\.[bu]16", ptx)),
    }


def stack_bytes(cubin):
    """Of a thread: where registers do not suffice, they are kept there."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        shown = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return sum(int(number) for number in re.findall(r"(?:STACK|LOCAL):(\d+)", shown))


def main(capability):
    forward, backward = gru_kernels._forward_frame, gru_kernels._backward_frame
    print(
        json.dumps(
            {
                "forward": compiled(forward, capability, keep=True, keep_hidden=True),
                "forward, nothing kept": compiled(forward, capability, keep=False, keep_hidden=False),
                "backward": compiled(backward, capability, last_only=False),
                "backward, last only": compiled(backward, capability, last_only=True),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
