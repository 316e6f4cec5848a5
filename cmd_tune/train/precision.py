"""Which precision is the fastest here: what `precision: auto` stands for, by a short measurement.

A processor without units for bfloat16's products computes them more slowly than float32's; a card has a faster way for
each coarser format, unless the host is what a step waits for.
M modality, B sample, T frame, X input channel.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import torch

from cmd_tune.compute.native import library
from cmd_tune.compute.slower import warn_slower
from cmd_tune.model.encoders import ENCODERS
from cmd_tune.settings import AUTO, Settings
from cmd_tune.train.loop import build_optimizer, build_pretrainer, round_products
from cmd_tune.train.step import WARM_UP, TrainingStep

# From fine to coarse. A processor computes tf32 as float32.
PRECISIONS = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "tf32", "bfloat16")}
LEAST_GAIN = 1.05  # how many times as fast a coarser precision must be to be taken
_ROUNDS = 3  # steps that are timed
# On a processor a step takes as long as it has branches, samples and frames: one branch, and of the others so many; few
# where even that takes long in float32, since emulated products may take fifty times as long.
_BRIEF, _BRIEFER = {"frames": 4}, {"frames": 2, "batch_size": 8}
_LONG_S = 0.05


def fastest(seconds: Mapping[str, float]) -> str:
    """The precision with the least time. seconds: of a step, from fine to coarse; a coarser one has to gain on it."""
    best, *coarser = seconds
    for precision in coarser:
        if seconds[best] > LEAST_GAIN * seconds[precision]:
            best = precision
    return best


def time_precisions(settings: Settings, channels: int, device: torch.device) -> dict[str, float]:
    """Seconds of a training step on made-up views in each precision that the device has, from fine to coarse."""
    if device.type == "cpu":
        library()  # compiled before anything is timed
        settings = _shortened(settings, _BRIEF)
        if _seconds(settings.model_copy(update={"precision": "float32"}), channels, device) > _LONG_S:
            settings = _shortened(settings, _BRIEFER)
    return {
        precision: _seconds(settings.model_copy(update={"precision": precision}), channels, device)
        for precision in PRECISIONS[device.type]
    }


def _shortened(settings: Settings, sizes: Mapping[str, int]) -> Settings:
    """One branch by itself, with no more of these sizes."""
    sizes = {name: min(size, getattr(settings, name)) for name, size in sizes.items()}
    alone = {"modalities": settings.modalities[:1], "objective": "base", "stages": "one"}
    return settings.model_copy(update={**alone, **sizes})


def resolve_precision(settings: Settings, channels: int, device: torch.device) -> tuple[Settings, str]:
    """The settings with the fastest precision in place of auto, and a line that says why; unchanged without auto."""
    if settings.precision != AUTO:
        return settings, ""
    seconds = time_precisions(settings, channels, device)
    best = fastest(seconds)
    ratios = {name: each / seconds[best] for name, each in seconds.items() if name != best}
    others = ", ".join(f"{name} takes {ratio:.2g} times as long" for name, ratio in ratios.items())
    return settings.model_copy(update={"precision": best}), f"precision {AUTO}: {best}; {others}"


def warn_of_slow_precision(settings: Settings, channels: int, device: torch.device) -> None:
    """Warn if bfloat16 was asked for, and takes longer than float32 on this processor: measured once for each size."""
    size = (*(getattr(settings, name) for name in ("modalities", "batch_size", *ENCODERS[settings.encoder].settings)),)
    if settings.precision != "bfloat16" or device.type != "cpu" or size in _measured:
        return
    _measured.add(size)
    seconds = time_precisions(settings, channels, device)
    if seconds["bfloat16"] > LEAST_GAIN * seconds["float32"]:
        warn_slower("precision bfloat16 is slower than float32 on this processor; write float32, or auto to measure")


_measured: set[tuple[object, ...]] = set()


def _seconds(settings: Settings, channels: int, device: torch.device) -> float:
    """The median of some steps after a warm-up, which on a card includes a capture."""
    on_card = device.type == "cuda"
    with _rounding(settings):
        pretrainer = build_pretrainer(settings, channels).to(device).train()
        optimizer = build_optimizer(settings, pretrainer.online.parameters())
        take = TrainingStep(pretrainer, optimizer, lambda *views: views, device)
        shape = (len(settings.modalities), settings.batch_size, settings.frames, channels)
        views_MBTX = [torch.randn(shape, device=device) for _ in range(2)]

        def step() -> float:
            began = perf_counter()
            take(views_MBTX, settings.learning_rate, goes_on=[True])
            if on_card:
                torch.cuda.synchronize(device)
            return perf_counter() - began

        first = max(step() for _ in range(WARM_UP + 2 if on_card else 1))
        return first if first > _LONG_S and not on_card else median(step() for _ in range(_ROUNDS))


@contextmanager
def _rounding(settings: Settings) -> Iterator[None]:
    """Within it a GPU rounds products as the settings say."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    round_products(settings)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
