"""One run by several numbers of workers, and over two nodes of a Ray cluster: how far the results are apart."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch.multiprocessing.spawn import spawn
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks.collectives import group
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import open_store
from cmd_tune.evaluate.scores import encoder_scores
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.settings import make_settings
from cmd_tune.train.loop import CHECKPOINT, pretrain

ROOT = Path(__file__).resolve().parent.parent
CHANGES = {"batch_size": 60, "epochs": 5, "evaluate_every": 1}  # of the quick preset; 60 is a multiple of 1, 2, 3 and 4
_TEMPERATURE = 0.05
_PATIENCE_S = 900  # of a search of one trial


@dataclass(frozen=True)
class Difference:
    """The largest ones between two runs.

    losses: of an epoch's loss and its parts, of themselves; first: in the first epoch. weights, banks: of a tensor, as
    the norm of the difference over the tensor's; weights are all tensors of both encoders, running statistics included.
    scores: in points.
    """

    first: float
    losses: float
    weights: float
    banks: float
    scores: float


def difference(one: Path, other: Path) -> Difference:
    """Between the last checkpoints in two folders, whose epochs are the same."""
    a, b = (torch.load(folder / CHECKPOINT, weights_only=True) for folder in (one, other))
    records = list(zip(a["history"], b["history"], strict=True))
    scored = [(ours, theirs, name) for ours, theirs in records for name in ours if name.startswith("val/")]

    def losses(epochs: int) -> float:
        names = [name for name in a["history"][0] if name.startswith("loss/")]
        return max(abs(theirs[name] / ours[name] - 1) for ours, theirs in records[:epochs] for name in names)

    def apart(banks: bool) -> float:
        return max(
            float((x.double() - b["pretrainer"][name].double()).norm() / x.double().norm())
            for name, x in a["pretrainer"].items()
            if x.is_floating_point() and name.startswith("banks.") == banks
        )

    scores = max(abs(theirs[name] - ours[name]) for ours, theirs, name in scored)
    return Difference(losses(1), losses(len(records)), apart(False), apart(True), scores)


def by_processes(store: Path, folder: Path, workers: int, *, nudged: float | None = None) -> Path:
    """The folder of a run by so many processes that talk over gloo, with CHANGES.

    nudged: each weight begins as the next number on the way to this one, which shows how far rounding takes a run.
    """
    folder.mkdir(parents=True)
    spawn(_pretrain, (workers, str(folder), str(store), nudged), nprocs=workers)
    return folder


def _pretrain(rank: int, workers: int, folder: str, path: str, nudged: float | None) -> None:
    if nudged is not None:
        _nudge(nudged)
    settings = make_settings("quick", ("benchmark", CHANGES))
    with group(rank, workers, folder):
        store = open_store(Path(path))
        protocol, split = split_store(store)
        pretrain(
            settings,
            store,
            split.pretrain_N,
            protocol=protocol,
            folder=Path(folder),
            evaluate=lambda online: encoder_scores(online, store, split.validation, settings, prefix="val"),
            report=lambda _: None,
            device=torch.device("cpu"),
        )


def _nudge(towards: float) -> None:
    """Have each weight of a run begin as the next number on the way."""

    @torch.no_grad()
    def before_the_first_step(module: torch.nn.Module, _: object) -> None:
        if isinstance(module, Pretrainer):
            for weight in module.online.parameters():
                weight.copy_(torch.nextafter(weight, torch.full_like(weight, towards)))
            hook.remove()

    hook = register_module_forward_pre_hook(before_the_first_step)


def over_nodes(store: Path, folder: Path, changes: Mapping[str, object]) -> tuple[Path, Path]:
    """Folders of one trial by one worker, and by two that lie on two Ray nodes of one CPU each, all on this machine.

    changes: of the quick preset.
    """
    from tests.ray_clusters import ray_cluster

    space = {
        "method": "grid",
        "metric": {"name": "val/knn/fused", "goal": "maximize"},
        "parameters": {"teacher_temperature": {"values": [_TEMPERATURE]}},
        "refit": "none",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    with ray_cluster(cpus=1) as cluster:
        cluster.join(cpus=1)
        for workers in (1, 2):
            words = [
                "--space",
                "space.yaml",
                "--data",
                str(store),
                "--name",
                f"by-{workers}",
                "--workers",
                str(workers),
            ]
            words += ["--address", cluster.address, "--concurrent", "1", "--preset", "quick"]
            words += [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
            done = subprocess.run(  # noqa: S603
                [sys.executable, str(ROOT / "run_search.py"), *words],
                cwd=folder,
                env={**os.environ, **cluster.env},
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE_S,
            )
            said = done.stdout + done.stderr
            if done.returncode or (workers == 2 and "2 workers a trial, 1 CPU and no GPU a worker" not in said):
                raise RuntimeError(f"the search by {workers} workers did not run as meant:\n{said}")
    one, two = (folder / "runs" / f"by-{workers}" / "trials" / "000" for workers in (1, 2))
    return one, two
