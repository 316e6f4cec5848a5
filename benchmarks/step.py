"""The training step and its parts, against the authors' way of stepping and against the machine's rate of products."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from benchmarks import authors
from benchmarks.roofline import least_seconds, measure_read_rate, recurrent_bytes
from benchmarks.rows import Row
from benchmarks.timing import Timing, take_turns
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.model.encoders import GRUEncoder
from cmd_tune.settings import Settings, make_settings
from cmd_tune.train.loop import build_optimizer, build_pretrainer, round_products

LAYOUT = LAYOUTS["ntu-25"]
SHAPE = (len(LAYOUT.joints), 3, 2)  # V, C, P
CHANNELS = 150
_LONG_S = 0.2  # of a product that tells the rate
PARTS = ("encoders", "objective", "backward", "optimiser")


def paper_settings(hidden_size: int, precision: str) -> Settings:
    """The paper's run of NTU-60, with another width and precision."""
    return make_settings("paper", ("benchmark", {"hidden_size": hidden_size, "precision": precision}))


def our_inputs(x_NCTVP: Tensor) -> Tensor:
    """A view as the authors hold it, as the inputs of our branches, (M, B, T, X)."""
    return stack_modalities(x_NCTVP.permute(0, 2, 3, 1, 4).contiguous(), ("joint", "motion", "bone"), LAYOUT)


class Parts:
    """Seconds of each part of the last step."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings, self.device, self.apart = settings, device, True
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        if self.apart and self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] = perf_counter() - start


class OurStep(Parts):
    """`train.loop`'s step, in parts."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        super().__init__(settings, device)
        self.pretrainer = build_pretrainer(settings, CHANNELS).to(device)
        self.optimizer = build_optimizer(settings, self.pretrainer.online.parameters())

    def ways(self) -> str:
        """How a GPU's recurrences went, of query and key encoders; nothing on a CPU."""
        encoders = (self.pretrainer.online, self.pretrainer.momentum)
        return ", ".join(
            name for one in encoders if isinstance(one, GRUEncoder) for name, _ in one.recurrence.chosen.values()
        )

    def __call__(self, query_MBTX: Tensor, key_MBTX: Tensor) -> None:
        pretrainer = self.pretrainer
        with self.part("encoders"):
            query_MBD = pretrainer.online(query_MBTX)
            with torch.no_grad():
                pretrainer.update_momentum()
                key_MBD = pretrainer.momentum(key_MBTX)
        with self.part("objective"):
            loss = pretrainer.losses(query_MBD, key_MBD).total
        with self.part("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with self.part("optimiser"):
            self.optimizer.step()
            pretrainer.banks.enqueue(key_MBD)


class AuthorsStep(Parts):
    """The same by the reference in authors.py."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        super().__init__(settings, device)
        self.model = authors.CMD(
            LAYOUT.parents,
            CHANNELS,
            hidden_size=settings.hidden_size,
            layers=settings.layers,
            embedding_size=settings.embedding_size,
            queue_size=settings.queue_size,
            topk=settings.topk,
            key_momentum=settings.key_momentum,
        ).to(device)
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(learning, lr=0.01, momentum=0.9, weight_decay=1e-4)

    def __call__(self, query_NCTVP: Tensor, key_NCTVP: Tensor) -> None:
        with self.part("encoders"):
            embed_q, embed_k = self.model.embed(query_NCTVP, key_NCTVP)
        with self.part("objective"):
            contrastive, distillation = self.model.losses(embed_q, embed_k)
        with self.part("backward"):
            self.optimizer.zero_grad()
            (contrastive + distillation).backward()
        with self.part("optimiser"):
            self.optimizer.step()
            self.model.enqueue(embed_k)


def step_flops(s: Settings, channels: int = CHANNELS) -> float:
    """Floating-point operations of a step's matrix products: 6 encoders forward, 3 of them backward, similarities.

    Backward are two products for each forward, but for one: the input itself has no gradient.
    """
    M, B, T, H, D, K = len(s.modalities), s.batch_size, s.frames, s.hidden_size, s.embedding_size, s.queue_size
    inputs = [channels] + [2 * H] * (s.layers - 1)
    forward = sum(2 * 2 * B * T * 3 * H * (I + H) for I in inputs) + 2 * B * 2 * H * (2 * H + D)
    similarities = 3 * 2 * B * K * D
    of_input = 2 * 2 * B * T * 3 * H * channels
    return M * (4 * forward - of_input + similarities)


def product_rate(precision: str, device: torch.device, repeats: int = 5) -> float:
    """Floating-point operations a second of a large matrix product: the ceiling.

    A processor without instructions for a precision may take a minute for a product of 2,048 rows: the sizes grow up to
    that, or to one that takes long enough.
    """
    sizes = (8192,) if device.type == "cuda" else (256, 512, 1024, 2048)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    round_products(make_settings("paper", ("benchmark", {"precision": precision})))
    rate = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        taken = min(take_turns({"product": partial(torch.matmul, a, b)}, repeats)["product"].runs)
        rate = 2 * size**3 / taken
        if taken > _LONG_S:
            break
    round_products(make_settings("paper"))
    return rate


def step_rows(hidden_size: int, precisions: list[str], device: torch.device, repeats: int) -> list[Row]:
    """A row for the step in each precision, then one for each of its parts."""
    torch.manual_seed(0)
    views_NCTVP = [torch.randn(64, 3, 64, 25, 2, device=device) for _ in range(2)]
    views_MBTX = [our_inputs(x) for x in views_NCTVP]
    ours = {precision: OurStep(paper_settings(hidden_size, precision), device) for precision in precisions}
    authors_own = AuthorsStep(paper_settings(hidden_size, "float32"), device)
    steps: dict[str, OurStep | AuthorsStep] = {"authors": authors_own, **ours}
    parts: dict[str, dict[str, list[float]]] = {name: {part: [] for part in PARTS} for name in steps}

    def way(name: str, *, apart: bool) -> Callable[[], None]:
        step, views = steps[name], views_NCTVP if name == "authors" else views_MBTX

        def work() -> None:
            round_products(step.settings)
            step.apart = apart
            step(*views)
            for part, taken in step.seconds.items() if apart else ():
                parts[name][part].append(taken)

        return work

    on_gpu = device.type == "cuda"  # there the host runs ahead, unless the parts are to be told apart
    warm_up = repeats > 1 or on_gpu  # the first step compiles and captures
    timings = take_turns({name: way(name, apart=not on_gpu) for name in steps}, repeats, warm_up=warm_up)
    if on_gpu:
        take_turns({name: way(name, apart=True) for name in steps}, repeats)
    round_products(make_settings("paper"))
    rows = []
    for precision in precisions:
        settings = paper_settings(hidden_size, precision)
        flops, rate = step_flops(settings), product_rate(precision, device)
        of_peak = flops / timings[precision].median / rate
        name = f"step, H = {hidden_size}, {precision}"
        rows.append(Row(name, timings[precision], timings["authors"], of_peak, note=ours[precision].ways()))
        for part in PARTS:
            mine, theirs = (Timing(tuple(parts[name][part][warm_up:])) for name in (precision, "authors"))
            rows.append(Row(f"  {part}", mine, theirs))
        if on_gpu:
            read_rate = measure_read_rate(recurrent_bytes(settings), device)
            least = Timing((least_seconds(settings, flops, rate, read_rate),))
            rows.append(Row("  least by the roofline", least, note=f"weights at {read_rate / 1e9:,.0f} GB/s"))
    return rows
