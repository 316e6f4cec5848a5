"""Distillation by consensus beside the paper's, pair by pair, from two modalities to seven: time, memory, exponents.

M modality, B sample, D embedding, K bank row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from time import perf_counter, process_time

import torch
from torch import Tensor

from benchmarks import authors
from benchmarks.processes import child
from benchmarks.rows import Row
from benchmarks.timing import Timing, take_turns
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import CMD, DISTILLATIONS, Base
from cmd_tune.model.pretrainer import Pretrainer

MODALITIES = (2, 3, 4, 5, 6, 7)
NOTE = "theirs: pairwise"

# Peak memory of the objective's forward and backward pass above what the process holds before it, for 2, 3, …
# modalities; MiB. The kernel's own high-water mark, set back before each (Linux).
_MEMORY = """
import ctypes, json, sys
ctypes.CDLL(None).mallopt(-3, 2**16)  # M_MMAP_THRESHOLD: an array that is freed leaves the process
import torch
from benchmarks.memory import forget_peak, mebibytes
from benchmarks.objective import MODALITIES, Sizes, cmd, embedded, only_losses
from cmd_tune.compute import native
from cmd_tune.model import batch_loss
distillation, way, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
if way == "at once":
    native.library = lambda: None
    batch_loss._BLOCK = 2**62
sizes = Sizes()
query_MBD, key_MBD, banks_MKD = embedded(max(MODALITIES), sizes, torch.device("cpu"))
pretrainer = only_losses(2, sizes, cmd(distillation, sizes), torch.device("cpu"))

peaks = []
for M in (2, *MODALITIES):
    pretrainer.banks.keys_MKD = banks_MKD[:M]
    query = query_MBD[:M].detach().requires_grad_()
    forget_peak()
    before = mebibytes("VmRSS")
    pretrainer.losses(query, key_MBD[:M]).total.backward()
    peaks.append(mebibytes("VmHWM") - before)
print(json.dumps(peaks[1:]))  # the first has set up what torch keeps
"""


@dataclass(frozen=True)
class Sizes:
    """The paper's; part: samples of the distillation by itself."""

    batch: int = 64
    part: int = 16
    embedding: int = 128
    queue_size: int = 16384
    topk: int = 8192


def cmd(distillation: str, sizes: Sizes) -> CMD:
    """The paper's temperatures."""
    return CMD(0.07, 0.05, 0.1, sizes.topk, 1.0, "consensus" if distillation == "consensus" else "pairwise")


def embedded(modalities: int, sizes: Sizes, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random (query_MBD, key_MBD, banks_MKD) of length near 1, made without copies."""
    torch.manual_seed(0)
    rows = (sizes.batch, sizes.batch, sizes.queue_size)
    query, key, banks = (
        torch.randn(modalities, n, sizes.embedding, device=device).div_(sizes.embedding**0.5) for n in rows
    )
    return query, key, banks


def only_losses(modalities: int, sizes: Sizes, objective: CMD | Base, device: torch.device) -> Pretrainer:
    """A pretrainer for its losses alone: the encoders are as small as can be."""
    encoders = GRUEncoder(modalities, 1, hidden_size=1, embedding_size=sizes.embedding, layers=1)
    banks = MemoryBanks(modalities, sizes.queue_size, sizes.embedding)
    return Pretrainer(encoders, banks, objective, 0.999).to(device)


def fit_exponent(counts: Sequence[int], values: Sequence[float]) -> float:
    """The e of values ∝ counts^e: the least-squares slope of their logarithms."""
    x, y = ([log(v) for v in of_one] for of_one in (counts, values))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def objective_rows(device: torch.device, repeats: int, sizes: Sizes | None = None) -> list[Row]:
    """A row for each number of modalities: the objective of a step, similarities included; distillation by PyTorch.

    Theirs is the paper's distillation by this package's code, and in one row the authors' objective. On a CPU, seconds
    are of its time (all threads'), which other processes bend less than the clock on the wall.
    """
    clock = process_time if device.type == "cpu" else perf_counter
    sizes = sizes or Sizes()
    rows: list[Row] = []
    step = {f"{d}, {M}": _Step(M, sizes, cmd(d, sizes), device) for d in DISTILLATIONS for M in MODALITIES}
    step |= {f"base, {M}": _Step(M, sizes, Base(0.07), device) for M in MODALITIES}
    taken = take_turns({**step, "authors": _AuthorsObjective(sizes, device)}, repeats, clock=clock)
    rows += _compared("objective of a step", taken)
    rows.append(
        Row("objective of a step, pairwise, M = 3", taken["pairwise, 3"], taken["authors"], note="theirs: the authors'")
    )
    for M in MODALITIES:
        rows.append(Row(f"  without distillation, M = {M}", taken[f"base, {M}"]))
    del step
    alone = {f"{d}, {M}": _Distillation(M, sizes, d, device) for d in DISTILLATIONS for M in MODALITIES}
    return rows + _compared("distillation alone by PyTorch", take_turns(alone, repeats, clock=clock))


def objective_memory_rows() -> list[Row]:
    """Peak memory of the objective on a CPU: the batch at once by PyTorch, as on a GPU, and in one pass, compiled."""
    rows: list[Row] = []
    for way in ("at once", "in one pass"):
        peaks = {d: child(_MEMORY, d, way, str(torch.get_num_threads())) for d in DISTILLATIONS}
        taken = {f"{d}, {M}": Timing((peak,)) for d in peaks for M, peak in zip(MODALITIES, peaks[d], strict=True)}
        rows += _compared(f"peak memory, {way}", taken, unit="MiB")
    return rows


def _compared(name: str, taken: dict[str, Timing], unit: str = "s") -> list[Row]:
    """Consensus beside pairwise for each M; the last row's note has the exponents, of the least disturbed runs."""
    ours, theirs = ([taken[f"{d}, {M}"] for M in MODALITIES] for d in ("consensus", "pairwise"))
    exponents = [fit_exponent(MODALITIES, [min(timing.runs) for timing in of_one]) for of_one in (ours, theirs)]
    notes = [NOTE, *[""] * (len(MODALITIES) - 2), "grows as M^{:.2f}, theirs as M^{:.2f}".format(*exponents)]
    return [
        Row(f"{name}, M = {M}", one, other, unit=unit, note=note)
        for M, one, other, note in zip(MODALITIES, ours, theirs, notes, strict=True)
    ]


class _Step:
    """The objective's forward and backward pass, as a training step has them."""

    def __init__(self, modalities: int, sizes: Sizes, objective: CMD | Base, device: torch.device) -> None:
        self.pretrainer = only_losses(modalities, sizes, objective, device)
        query_MBD, self.key_MBD, self.pretrainer.banks.keys_MKD = embedded(modalities, sizes, device)
        self.query_MBD = query_MBD.requires_grad_()

    def __call__(self) -> None:
        self.pretrainer.losses(self.query_MBD, self.key_MBD).total.backward()


class _AuthorsObjective:
    """The authors' similarities, contrast and pairwise distillation of three modalities, by autograd."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        query_MBD, key_MBD, banks_MKD = embedded(3, sizes, device)
        small = {"hidden_size": 1, "layers": 1, "embedding_size": sizes.embedding}
        self.model = authors.CMD((), 1, **small, queue_size=sizes.queue_size, topk=sizes.topk, key_momentum=0.999)
        self.model.queue, self.model.queue_motion, self.model.queue_bone = banks_MKD.transpose(1, 2).contiguous()
        self.query = [q.detach().requires_grad_() for q in query_MBD]
        self.key = list(key_MBD)

    def __call__(self) -> None:
        contrastive, distillation = self.model.losses(self.query, self.key)
        torch.autograd.grad(contrastive + distillation, self.query)


class _Distillation:
    """One distillation of given similarities, with its gradient."""

    def __init__(self, modalities: int, sizes: Sizes, name: str, device: torch.device) -> None:
        query_MBD, key_MBD, banks_MKD = embedded(modalities, sizes, device)
        student, self.teacher_MBK = (x[:, : sizes.part] @ banks_MKD.transpose(1, 2) for x in (query_MBD, key_MBD))
        self.student_MBK = student.requires_grad_()
        self.function, self.topk = DISTILLATIONS[name], sizes.topk

    def __call__(self) -> None:
        loss = self.function(
            self.student_MBK, self.teacher_MBK, self.topk, student_temperature=0.1, teacher_temperature=0.05
        )
        torch.autograd.grad(loss, self.student_MBK)
