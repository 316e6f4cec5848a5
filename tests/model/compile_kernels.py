"""Compiles the kernels for a compute capability, without a GPU, and prints what came of it as JSON.

Run as a process of its own, since Triton either compiles or interprets.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cmd_tune.compute import native
from cmd_tune.data.views import crop_shear_kernels
from cmd_tune.model.encoders import gru_frame_kernels, gru_sequence_kernels, input_norm_kernels
from cmd_tune.model.objectives import one_pass_kernels as kernels
from cmd_tune.model.objectives import one_pass_launch as launch
from cmd_tune.train import weight_pass_kernels

STORED = {torch.bfloat16: "*bf16", torch.float32: "*fp32"}
# Types of arguments by name. Pointers, and these sizes, are multiples of 16 as at the paper's sizes: known when a
# kernel is compiled.
STRIDES = ("of_group_stride", "of_h_stride", "of_gate_stride")
GRU = {"bias": "*fp32", "carried": "*fp32", "grad_bias": "*fp32", **dict.fromkeys((*"tTBSH", *STRIDES), "i32")}
GRU_ALIGNED = {"T", "B", "H"}
SEQUENCES = [
    (torch.bfloat16, 128),
    (torch.bfloat16, 64),
    (torch.float32, 64),
    (torch.bfloat16, 19),
    (torch.float32, 19),
]
OBJECTIVE = {"neighbours": "*i32", **dict.fromkeys("MABRK", "i32")}
OBJECTIVE_ALIGNED = {"K"}


def compiled(kernel, capability, kinds, aligned, dtype, num_warps=4, num_stages=3, **constants):
    """dtype: of the tensors that kinds does not name."""
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else kinds.get(name, STORED[dtype]) for name in names}
    aligned = [n for n in names if signature[n].startswith("*") or (n in aligned and n not in constants)]
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
        "wide": len(re.findall(r"(?:ld|st)\.global\.v4\.b32", made.asm["ptx"])),
        "double": len(re.findall(r"\.f64", made.asm["ptx"])),
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
    def made(kernel, **flags):
        return compiled(kernel, capability, GRU, GRU_ALIGNED, torch.bfloat16, block=256, **flags)

    return {
        "forward": made(gru_frame_kernels._forward_frame, keep=True, keep_hidden=True),
        "forward, nothing kept": made(gru_frame_kernels._forward_frame, keep=False, keep_hidden=False),
        "backward": made(gru_frame_kernels._backward_frame, last_only=False),
        "backward, last only": made(gru_frame_kernels._backward_frame, last_only=True),
    }


def sequences(capability):
    """What came of each, with the most that it was to need of shared memory."""
    found = {}
    for dtype, H in SEQUENCES:
        for tf32 in (False, True) if dtype == torch.float32 else (False,):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            given = {"H": H, **gru_sequence_kernels._constants(H, dtype)}
            along_rows = "of_gate_stride" if dtype == torch.float32 else "of_h_stride"
            aligned = GRU_ALIGNED | (set(STRIDES) if H % 16 == 0 else set())
            for direction, kernel, flags in (
                ("forward", gru_sequence_kernels._forward, {"keep": True, "keep_hidden": True, along_rows: 1}),
                ("backward", gru_sequence_kernels._backward, {"last_only": False}),
            ):
                made = compiled(kernel, capability, GRU, aligned, dtype, **flags, **given)
                name = f"{direction}, {str(dtype).removeprefix('torch.')}, tf32 {tf32}, H {H}"
                found[name] = {**made, "room": gru_sequence_kernels.shared_bytes(H, dtype)}
    return found


def objectives(capability):
    """Names end with the rows of a bank: one, the quick preset's, the paper's and the most."""

    def made(kernel, **flags):
        return compiled(kernel, capability, OBJECTIVE, OBJECTIVE_ALIGNED, torch.float32, **flags)

    found = {}
    for K in (1, 192, 16384, launch.MOST_ROWS):
        registers = launch.in_registers(K)
        for choose, exponential in ((True, True), (False, True), (True, False)):
            flags = {"choose": choose, "exponential": exponential, **registers}
            found[f"look, {choose=}, {exponential=}, {K}"] = made(kernels._look, **flags)
        for distillation in (None, "pairwise", "consensus"):
            found[f"learn, {distillation}, {K}"] = made(kernels._learn, M=3, distillation=distillation, **registers)
    for modalities in (2, 4, 8):
        sizes = {"modalities": modalities, "columns": launch.COLUMNS}
        found[f"sum other teachers, {modalities}"] = made(kernels._sum_other_teachers, **sizes)
        for distills in (True, False):
            sizes = {"modalities": modalities, "columns": launch.SUMMED}
            found[f"sum up, {distills=}, {modalities}"] = made(kernels._sum_up, distills=distills, **sizes)
    return found


def inputs(capability):
    """The views' kernel, and the input norm's."""
    norm = {"eps": "fp32", "momentum": "fp32", "batches": "*i64", **dict.fromkeys("BTXN", "i32")}
    norm |= {"rows": "i32", "width": "i32"}
    views = {"start": "*i64", "length": "*i64", **dict.fromkeys("TXP", "i32")}
    part, joined = input_norm_kernels.ROWS_OF_PART, (input_norm_kernels.CHANNELS, input_norm_kernels.PARTS)
    made = {
        "views": (crop_shear_kernels._draw_view, views, {"C": 3, "frames_block": 4, "numbers_block": 256}),
        "views, 2-D": (crop_shear_kernels._draw_view, views, {"C": 2, "frames_block": 4, "numbers_block": 128}),
        "statistics": (input_norm_kernels._statistics, norm, {"rows_block": part, "channels_block": 256}),
        "join": (input_norm_kernels._join, norm, dict(zip(("channels_block", "parts_block"), joined, strict=True))),
        "standardise": (input_norm_kernels._standardise, norm, {"rows_block": 8, "channels_block": 256}),
    }
    return {
        name: compiled(kernel, capability, kinds, set(), torch.float32, **constants)
        for name, (kernel, kinds, constants) in made.items()
    }


def weights(capability):
    kinds = {"size": "i32", "copy": "*bf16", "key_copy": "*bf16"}

    def made(kernel, rounds, **flags):
        stored = kinds if rounds else {**kinds, "copy": "*fp32", "key_copy": "*fp32"}
        sizes = {"rounds": rounds, "block": weight_pass_kernels.BLOCK}
        return compiled(kernel, capability, stored, {"size"}, torch.float32, **sizes, **flags)

    return {
        f"{kernel.__name__}, {rounds=}, {flags}": made(kernel, rounds, **flags)
        for kernel, flags in (
            (weight_pass_kernels._move_keys, {}),
            (weight_pass_kernels._sgd, {"keeps": True}),
            (weight_pass_kernels._sgd, {"keeps": False}),
            (weight_pass_kernels._adamw, {}),
        )
        for rounds in (True, False)
    }


def main(capability):
    made = {"inputs": inputs, "frames": frames, "sequences": sequences, "objectives": objectives, "weights": weights}
    print(json.dumps({name: of(capability) for name, of in made.items()}))


if __name__ == "__main__":
    native.kernels("cmd_tune.train.weight_pass_kernels", SimpleNamespace(is_cuda=True))  # as for a tensor on a GPU
    main(int(sys.argv[1]))
