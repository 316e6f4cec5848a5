"""Compiles the kernels for a compute capability, without a GPU, and prints what came of it as JSON.

Run as a process of its own, since Triton either compiles or interprets.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cmd_tune.model import gru_kernels, gru_sequence

KINDS = {"bias": "*fp32", "carried": "*fp32", "t": "i32", "T": "i32", "B": "i32", "S": "i32", "H": "i32"}
MULTIPLES_OF_16 = {"T", "B", "H"}  # and pointers, as at the paper's sizes: known when a kernel is compiled
STORED = {torch.bfloat16: "*bf16", torch.float32: "*fp32"}
SEQUENCES = [
    (torch.bfloat16, 128),
    (torch.bfloat16, 64),
    (torch.float32, 64),
    (torch.bfloat16, 19),
    (torch.float32, 19),
]


def compiled(kernel, capability, dtype=torch.bfloat16, num_warps=4, num_stages=3, **constants):
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else KINDS.get(name, STORED[dtype]) for name in names}
    aligned = [n for n in names if signature[n].startswith("*") or (n in MULTIPLES_OF_16 and n not in constants)]
    source = ASTSource(
        kernel,
        signature,
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    options = {"num_warps": num_warps, "num_stages": num_stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {
        "spilled": stack_bytes(made.asm["cubin"]),
        "narrow": len(re.findall(r"(?:ld|st)\.global\.[bu]16", made.asm["ptx"])),
        "shared": made.metadata.shared,
    }


def stack_bytes(cubin):
    """Of a thread: where registers do not suffice, they are kept there."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        shown = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return sum(int(number) for number in re.findall(r"(?:STACK|LOCAL):(\d+)", shown))


def frames(capability):
    forward, backward = gru_kernels._forward_frame, gru_kernels._backward_frame
    yield "forward", compiled(forward, capability, keep=True, keep_hidden=True, block=256)
    yield "forward, nothing kept", compiled(forward, capability, keep=False, keep_hidden=False, block=256)
    yield "backward", compiled(backward, capability, last_only=False, block=256)
    yield "backward, last only", compiled(backward, capability, last_only=True, block=256)


def sequences(capability):
    """(dtype, H, allow_tf32, direction) and what came of it, with the most that it was to need of shared memory."""
    for dtype, H in SEQUENCES:
        for tf32 in (False, True) if dtype == torch.float32 else (False,):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            given = {"H": H, **gru_sequence._constants(H, dtype)}
            made = {
                "forward": compiled(gru_sequence._forward, capability, dtype, keep=True, keep_hidden=True, **given),
                "backward": compiled(gru_sequence._backward, capability, dtype, last_only=False, **given),
            }
            name = f"{str(dtype).removeprefix('torch.')}, tf32 {tf32}, H {H}"
            for direction, kernel in made.items():
                yield f"{direction}, {name}", {**kernel, "room": gru_sequence.shared_bytes(H, dtype)}


def main(capability):
    print(json.dumps({"frames": dict(frames(capability)), "sequences": dict(sequences(capability))}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
