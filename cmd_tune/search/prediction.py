"""What a search will take: probes as many trials as will run at once, and counts."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from math import ceil
from threading import Barrier, BrokenBarrierError

from cmd_tune.errors import CmdTuneError
from cmd_tune.formatting import count, file_size, time_span
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.probe import Probed, probe
from cmd_tune.search.ablations import ablation_count
from cmd_tune.search.confirmations import confirmation_count
from cmd_tune.search.execution import ResourcePlan
from cmd_tune.search.plan import Plan
from cmd_tune.search.refits import refit_count
from cmd_tune.settings import Settings

_MOST_PROBES = 16  # at once
_PATIENCE_S = 300.0  # of a probe with one that has not come as far


@dataclass(frozen=True)
class Prediction:
    """Seconds of a trial, a refit and the whole search; hours of CPUs and GPUs; bytes of all that runs at once."""

    trial: float
    refit: float
    whole: float
    cpu_hours: float
    gpu_hours: float
    memory: int
    gpu_memory: int  # of one worker

    def lines(self) -> Iterator[str]:
        """In lines, for people."""
        refit = f", a refit {time_span(self.refit)}" if self.refit else ""
        yield f"time: about {time_span(self.whole)}; a trial takes {time_span(self.trial)}{refit}"
        gpus = f", {self.gpu_hours:.3g} GPU-hours" if self.gpu_hours else ""
        yield f"cost: {self.cpu_hours:.3g} CPU-hours{gpus}"
        card = f", {file_size(self.gpu_memory)} of a GPU for each worker" if self.gpu_memory else ""
        yield f"memory: {file_size(self.memory)} for all that runs at once{card}"


def predict(plan: Plan, layout: ResourcePlan) -> Prediction:
    """Probe the first trial's configuration, as often at once as trials will run. Raises CmdTuneError."""
    each = layout.per_trial
    processes = min(_processes(_at_once(plan, layout), layout), _MOST_PROBES)
    settings = plan.settings.model_copy(update={"batch_size": max(2, plan.settings.batch_size // each.workers)})
    found = probe_at_once(settings, plan.source, processes, each.threads, each.gpus > 0, each.fused)
    return predicted(plan, layout, found)


def _at_once(plan: Plan, layout: ResourcePlan) -> int:
    return layout.learning if plan.trials is None or plan.given < plan.trials else layout.concurrent


def _processes(trials: int, layout: ResourcePlan) -> int:
    """Those that run so many trials at once: the workers of each, or of fused ones a worker for several."""
    return ceil(trials / layout.per_trial.fused) * layout.per_trial.workers


def _times_run(trials: int, at_once: int, layout: ResourcePlan) -> int:
    """How often a process runs for a trial's length, if so many trials run in rounds of those at once."""
    whole, rest = divmod(trials, at_once)
    return whole * _processes(at_once, layout) + _processes(rest, layout)


def predicted(plan: Plan, layout: ResourcePlan, found: Probed) -> Prediction:
    """What the search takes if its runs take what was probed. Trials are counted whole, in rounds of those at once."""
    _, split = plan.source.open(plan.settings.holdout)
    settings, comparison = plan.settings, plan.space.comparison is not None
    validated = bool(split.validation)
    run = found.seconds(settings, len(split.pretrain_N), validated=validated, tested=comparison)
    trial = run * plan.space.seeds
    refits = refit_count(plan)
    whole = len(split.test[0].gallery_N)
    refit = found.seconds(settings, whole, validated=False, tested=True) if refits else 0.0
    at_once = _at_once(plan, layout)
    limit = plan.space.seconds
    trials = plan.trials or max(1, int((limit or 0.0) // trial)) * at_once
    time = ceil(trials / at_once) * trial
    again, path = confirmation_count(plan), ablation_count(plan)
    time = min(time, limit) if limit else time
    time += (ceil(again / layout.concurrent) + ceil(path / layout.concurrent)) * run
    time += ceil(refits / layout.concurrent) * refit
    each = layout.per_trial
    follow = ((again, run), (path, run), (refits, refit))
    hours = _times_run(trials, at_once, layout) * trial / 3600
    hours += sum(_times_run(number, layout.concurrent, layout) * seconds for number, seconds in follow) / 3600
    memory = _processes(layout.concurrent, layout) * found.memory
    return Prediction(trial, refit, time, hours * each.cpus, hours * each.gpus, memory, found.gpu_memory)


_barrier: Barrier | None = None  # of the probes that run at once, in each of their processes


def probe_at_once(
    settings: Settings, source: DataSource, processes: int, threads: int, gpu: bool, fused: int = 1
) -> Probed:
    """The mean of so many probes, each in a process of its own, that measure at the same time.

    fused: trials of each process.
    """
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(
            processes, context, initializer=_prepare, initargs=(context.Barrier(processes), gpu)
        ) as pool:
            pending = [pool.submit(_probe, settings, source, threads, fused, index) for index in range(processes)]
            all_found = [each.result() for each in pending]
    except BrokenProcessPool as error:
        what = f"{count(processes * fused, 'trial')} at once"
        raise CmdTuneError(f"--plan: a probe of {what} was ended; is there too little memory for them?") from error
    mean = {name: sum(getattr(found, name) for found in all_found) / processes for name in _SECONDS}
    most = {name: max(getattr(found, name) for found in all_found) for name in ("memory", "gpu_memory")}
    return Probed(**mean, **most)


_SECONDS = ("step", "validation", "test", "checkpoint")


def _prepare(barrier: Barrier, gpu: bool) -> None:
    global _barrier
    _barrier = barrier
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _probe(settings: Settings, source: DataSource, threads: int, fused: int, index: int) -> Probed:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(index % torch.cuda.device_count())
    assert _barrier
    try:
        return probe(settings, source, threads, lambda: _barrier.wait(_PATIENCE_S), trials=fused)
    except BrokenBarrierError:
        raise CmdTuneError("--plan: another probe has failed") from None
    except BaseException:
        _barrier.abort()
        raise
