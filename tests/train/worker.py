"""Runs in processes of their own: several that talk to each other, or one that is killed. `python worker.py JOB.json …`

A job names a store, a number of workers and runs of `pretrain`; each rank leaves `RUN-RANK.pt` in the job's folder,
all together `exits.json`. The ranks are forks of one process that has imported everything, which takes longer than
the runs do.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.collectives import Counter
from cmd_tune.compute import native
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import Store, open_store
from cmd_tune.errors import CmdTuneError
from cmd_tune.evaluate.features import extract_features
from cmd_tune.evaluate.scores import encoder_scores
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.settings import Settings
from cmd_tune.train.batches import Batches
from cmd_tune.train.loop import build_batches, pretrain

PROTOCOL = "xview"
CPU = torch.device("cpu")


def train(settings: Settings, store: Store, folder: Path, report=lambda record: None, device=CPU) -> Pretrainer:
    """`pretrain` with the scores of the validation split."""
    _, split = split_store(store, PROTOCOL)

    def evaluate(encoders):
        return encoder_scores(encoders, store, split.validation, settings, prefix="val")

    return pretrain(
        settings,
        store.on_device_if_it_fits(device),
        split.pretrain_N,
        folder=folder,
        evaluate=evaluate,
        report=report,
        device=device,
    )


def make_batches(settings: Settings, store: Store, clips_N=None) -> Batches:
    if clips_N is None:
        clips_N = split_store(store, PROTOCOL)[1].pretrain_N
    return build_batches(settings, store, clips_N, CPU)


def outcome(settings: Settings, store: Store, folder: Path, device=CPU) -> dict[str, Any]:
    """All that must not depend on the number of workers, or the one line that a run ends with."""
    records: list[dict[str, float]] = []
    try:
        pretrainer = train(settings, store, folder, records.append, device)
    except CmdTuneError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    clips_N = split_store(store, PROTOCOL)[1].test[0].query_N
    features_MNF = extract_features(
        pretrainer.online, store, clips_N, modalities=settings.modalities, frames=settings.frames, batch_size=5
    )
    return {
        "records": records,
        "state": pretrainer.state_dict(),
        "features": features_MNF,
        "views": [torch.stack(views) for views in make_batches(settings, store).epoch(2)],
    }


def collectives(settings: Settings, store: Store, folder: Path) -> list[tuple[str, int]]:
    """Those of a run without scores, in order: operation and bytes that this worker gives."""
    clips_N = split_store(store, PROTOCOL)[1].pretrain_N
    with Counter() as counter:
        pretrain(settings, store, clips_N, folder=folder, evaluate=lambda _: {}, report=lambda _: None, device=CPU)
    return [(one.operation, one.given) for one in counter.collectives]


def die_at(event: str, count: int) -> None:
    """SIGKILL to this process at the start of its count-th training step, or as its count-th file is to appear."""
    calls: Iterator[int] = iter(range(1, sys.maxsize))

    def step_hook(module: torch.nn.Module, _: object) -> None:
        if isinstance(module, Pretrainer) and next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    def file_hook(name: str, _: object) -> None:
        if name == "os.rename" and next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    if event == "step":
        torch.nn.modules.module.register_module_forward_pre_hook(step_hook)
    else:
        sys.addaudithook(file_hook)


def rank_main(job_path: Path, rank: int) -> None:
    torch.set_num_threads(1)
    job = json.loads(job_path.read_text())
    if job["workers"] > 1:
        rendezvous = f"file://{job_path.parent / 'rendezvous'}"
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=job["workers"])
    if not job.get("compiled", True):
        native.library = lambda: None  # as on a machine without a compiler
    if "die_at" in job:
        die_at(*job["die_at"])
    store = open_store(Path(job["store"]))
    for name, settings in job["runs"].items():
        folder = job_path.parent / (f"{name}-of-{rank}" if job.get("apart") else name)
        if name in job.get("counted", ()):
            result = collectives(Settings(**settings), store, folder)
        else:
            result = outcome(Settings(**settings), store, folder, torch.device(job.get("device", "cpu")))
        torch.save(result, job_path.parent / f"{name}-{rank}.pt")
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def run_job(job_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    workers = json.loads(job_path.read_text())["workers"]
    processes = [fork.Process(target=rank_main, args=(job_path, rank)) for rank in range(workers)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if any(process.exitcode not in (None, 0) for process in processes):
            for process in processes:  # which would wait for the one that failed
                process.kill()
        for process in processes:
            process.join(0.02)
    (job_path.parent / "exits.json").write_text(json.dumps([process.exitcode for process in processes]))


if __name__ == "__main__":
    torch.optim.SGD([torch.zeros(1, requires_grad=True)]).step()  # what PyTorch imports at a first optimiser's making
    for argument in sys.argv[1:]:
        run_job(Path(argument))
