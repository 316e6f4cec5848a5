"""Compiles the kernels for a compute capability, without a GPU, and prints what came of it as JSON.

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
from cmd_tune.model.objectives import kernels

# Types of arguments by name. Pointers, and these sizes, are multiples of 16 as at the paper's sizes: known when a
# kernel is compiled.
GRU = {"bias": "*fp32", "carried": "*fp32", **dict.fromkeys("tTBSH", "i32")}
GRU_ALIGNED = {"T", "B", "H"}
TEMPERATURES = ("colder", "contrast_colder", "student_colder", "teacher_colder")
OBJECTIVE = {
    "neighbours": "*i32",
    **dict.fromkeys((*TEMPERATURES, "itself", "others", "distill"), "fp32"),
    **dict.fromkeys(("topk", *"MABRK"), "i32"),
}
OBJECTIVE_ALIGNED = {"K"}


def compiled(kernel, capability, kinds, aligned, other, warps=4, **constants):
    """other: type of arguments that kinds does not name."""
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else kinds.get(name, other) for name in names}
    aligned = [n for n in names if signature[n].startswith("*") or n in aligned]
    source = ASTSource(
        kernel,
        signature,
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
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


def of_gru(capability):
    def made(kernel, **flags):
        return compiled(kernel, capability, GRU, GRU_ALIGNED, "*bf16", block=256, **flags)

    return {
        "forward": made(gru_kernels._forward_frame, keep=True, keep_hidden=True),
        "forward, nothing kept": made(gru_kernels._forward_frame, keep=False, keep_hidden=False),
        "backward": made(gru_kernels._backward_frame, last_only=False),
        "backward, last only": made(gru_kernels._backward_frame, last_only=True),
    }


def of_objectives(capability):
    """Names end with the rows of a bank: one, the quick preset's, the paper's and the most."""

    def made(kernel, **flags):
        return compiled(kernel, capability, OBJECTIVE, OBJECTIVE_ALIGNED, "*fp32", **flags)

    found = {}
    for K in (1, 192, 16384, kernels.MOST_ROWS):
        registers = kernels.in_registers(K)
        registers["warps"] = registers.pop("num_warps")
        for choose, exponential in ((True, True), (False, True), (True, False)):
            flags = {"choose": choose, "exponential": exponential, **registers}
            found[f"look, {choose=}, {exponential=}, {K}"] = made(kernels._look, **flags)
        for distillation in (None, "pairwise", "consensus"):
            found[f"learn, {distillation}, {K}"] = made(kernels._learn, M=3, distillation=distillation, **registers)
    for modalities in (2, 4, 8):
        sizes = {"modalities": modalities, "columns": kernels.COLUMNS}
        found[f"sum other teachers, {modalities}"] = made(kernels._sum_other_teachers, **sizes)
        for distills in (True, False):
            sizes = {"modalities": modalities, "columns": kernels.SUMMED}
            found[f"sum up, {distills=}, {modalities}"] = made(kernels._sum_up, distills=distills, **sizes)
    return found


def main(capability):
    print(json.dumps({"gru": of_gru(capability), "objectives": of_objectives(capability)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
