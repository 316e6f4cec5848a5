"""The one training loop: plain torch, one process or several, resumable after any checkpoint.

M modality, B sample, T frame, X input channel.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from math import cos, floor, isfinite, pi
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from cmd_tune.compute.optimizers import SGD, AdamW
from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.seen_clips import pretraining_record
from cmd_tune.data.splits import Indices
from cmd_tune.data.store import Store
from cmd_tune.data.views import VIEWS
from cmd_tune.errors import DataError, Diverged, UsageError
from cmd_tune.files import remove_leftovers
from cmd_tune.model.encoders import ENCODERS, Encoder
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import OBJECTIVES, Base, Objective
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.out_of_memory import is_out_of_memory
from cmd_tune.settings import AUTO, Settings, kept_settings
from cmd_tune.train.batches import Batches
from cmd_tune.train.checkpoint_content import check_optimizer
from cmd_tune.train.costs import costs
from cmd_tune.train.distributed import sum_over_workers, world
from cmd_tune.train.kept_checkpoints import Newest, keep_last, load_newest, save_next
from cmd_tune.train.step import MakeSteps, means_of, steps_alone

Record = dict[str, float]  # one epoch's metrics; "epoch" counts from 1
Evaluate = Callable[[Encoder], Record]
Report = Callable[[Record], None]
Recall = Callable[[list[Record]], None]

CHECKPOINT = "checkpoint.pt"


def build_encoder(
    settings: Settings, channels: int, generator: torch.Generator | None = None, *, trials: int = 1
) -> Encoder:
    """The encoder of all modalities, with its initial values by the generator. channels: of its input.

    trials: of so many trials, side by side.
    """
    kind = ENCODERS[settings.encoder]
    return kind(
        trials * len(settings.modalities),
        channels,
        embedding_size=settings.embedding_size,
        compute_dtype=torch.bfloat16 if settings.precision == "bfloat16" else torch.float32,
        generator=generator,
        **{name: getattr(settings, name) for name in kind.settings},
    )


def build_pretrainer(settings: Settings, channels: int) -> Pretrainer:
    """Branches and banks at their initial values, which depend on the settings' seed alone."""
    generator = keyed_generator(settings.seed, "initial values")
    online = build_encoder(settings, channels, generator)
    banks = MemoryBanks(len(settings.modalities), settings.queue_size, settings.embedding_size, generator)
    return Pretrainer(online, banks, objective_at(settings, 1), settings.key_momentum)


def objective_at(settings: Settings, epoch: int) -> Objective:
    """The objective of an epoch, counted from 1. The first of two stages is Base. There is no state to resume."""
    # A billionth: 0.29 of 100 epochs are 29, though the product is 28.999999999999996.
    first = settings.stages == "two" and epoch <= floor(settings.stage_switch * settings.epochs + 1e-9)
    method = Base if first else OBJECTIVES[settings.objective]
    return method(**_of_settings(method, settings))


def _of_settings(variant: type, settings: Settings) -> dict[str, Any]:
    """The fields of a variant of a registry: the settings of the same names."""
    return {field.name: getattr(settings, field.name) for field in fields(variant)}


def round_products(settings: Settings) -> None:
    """Let GPUs round the products of this process to TF32 if the settings say so, and only then.

    PyTorch's default allows it to cuDNN, which computes the recurrences.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.precision == "tf32"


def build_optimizer(
    settings: Settings, parameters: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]]
) -> torch.optim.Optimizer:
    """parameters: or groups of them, as PyTorch's optimisers take them."""
    if settings.optimizer == "adamw":
        return AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    return SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.sgd_momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def build_batches(settings: Settings, store: Store, clips_N: Indices, device: torch.device) -> Batches:
    """Batches of the settings' size and views, drawn by the settings' seed. Raises UsageError if they do not fit."""
    view = VIEWS[settings.views]
    return Batches(
        store,
        clips_N,
        batch_size=settings.batch_size,
        frames=settings.frames,
        view=view(**_of_settings(view, settings)),
        modalities=settings.modalities,
        seed=settings.seed,
        device=device,
    )


def learning_rate(settings: Settings, epoch: int, step: int, steps: int) -> float:
    """The rate of one step; `epoch` counts from 1, `step` from 0. There is no state to resume."""
    if settings.schedule == "step":
        return settings.learning_rate * (0.1 if epoch > settings.step_epoch else 1.0)
    progress = (epoch - 1 + step / steps) / settings.epochs
    return settings.learning_rate * (1 + cos(pi * progress)) / 2


def pretrain(
    settings: Settings,
    store: Store,
    clips_N: Indices,
    *,
    protocol: str | None = None,
    folder: Path,
    evaluate: Evaluate,
    test: Evaluate | None = None,
    report: Report,
    device: torch.device,
    recall: Recall | None = None,
    steps_by: MakeSteps = steps_alone,
) -> Pretrainer:
    """Train on `clips_N` to the last epoch, from the newest whole checkpoint in `folder` if there is one.

    protocol: which one chose the clips; the checkpoint keeps it. evaluate: returns scores of the online encoders; every
    worker calls it at the same time. test: as `evaluate`, once, after the last epoch. report: called once per epoch
    with its metrics, in order. recall: called after a resume, once, with all metrics of the checkpoint's history;
    without it, `report` is called for each of them. steps_by: makes what takes the steps: a trial's own, or those of
    several trials side by side.
    Raises Diverged if a loss is not finite, UsageError if settings, data and checkpoint do not fit, DataError if no
    checkpoint is whole.
    """
    if settings.precision == AUTO:
        raise UsageError(f"precision {AUTO}: is for the start of a run, which measures what is fastest; write that")
    round_products(settings)
    pretrainer = build_pretrainer(settings, store.width).to(device)
    optimizer = build_optimizer(settings, pretrainer.online.parameters())
    batches = build_batches(settings, store, clips_N, device)
    path = folder / CHECKPOINT
    if world()[0] == 0:
        remove_leftovers(path)
    data = pretraining_record(store, protocol, clips_N)
    newest = load_newest(path, device)
    history = _resume(newest, settings, data, pretrainer, optimizer) if newest else []
    whole = newest is not None and newest.path == path  # else what is there, if anything, is damaged
    del newest  # its tensors are as large as the run's own
    _check_same_epoch(path, len(history), device)
    if whole and len(history) == settings.epochs and world()[0] == 0:
        keep_last(path)
    if recall is None:
        for record in history:
            report(record)
    elif history:
        recall(history)

    steps = steps_by(settings, pretrainer, optimizer, batches)
    parameters = sum(parameter.numel() for parameter in pretrainer.online.parameters())
    pretrainer.train()
    for epoch in range(len(history) + 1, settings.epochs + 1):
        started = monotonic()
        pretrainer.objective = objective_at(settings, epoch)
        rates = [learning_rate(settings, epoch, step, len(batches)) for step in range(len(batches))]
        sums = steps.epoch(epoch, rates)
        means = means_of(sums, len(batches), pretrainer.objective, settings.modalities)
        record = {"epoch": epoch, "learning_rate": rates[-1], **means}
        if not isfinite(record["loss/total"]):
            raise Diverged(
                f"the loss is {record['loss/total']} in epoch {epoch}; lower learning_rate or raise the temperatures"
            )
        record["seconds"] = monotonic() - started
        record |= costs([*history, record], parameters)
        last = epoch == settings.epochs
        if last or epoch % settings.evaluate_every == 0:
            record |= evaluate(pretrainer.online)
            record |= test(pretrainer.online) if last and test else {}
            pretrainer.train()
        history.append(record)
        if (last or epoch % settings.checkpoint_every == 0) and world()[0] == 0:
            state = {
                "settings": settings.model_dump(mode="json"),
                "data": data,
                "pretrainer": pretrainer.state_dict(),
                "optimizer": steps.optimizer_state(),
                "history": history,
            }
            save_next(path, state, keep=whole)
            whole = True
            if last:
                keep_last(path)
        report(record)
    return pretrainer


def epochs_done(folder: Path) -> int:
    """Epochs of the newest whole checkpoint in a run's folder; 0 if there is none. Raises DataError as `pretrain`."""
    newest = load_newest(folder / CHECKPOINT)
    return len(_part(newest, "history")) if newest else 0


def _check_same_epoch(path: Path, epochs: int, device: torch.device) -> None:
    """Raise DataError if the workers of a run do not go on from the same checkpoint."""
    rank, workers = world()
    total = sum_over_workers(torch.tensor([epochs], device=device))
    if int(total) != workers * epochs:
        raise DataError(
            f"{path}: worker {rank} goes on from epoch {epochs}, another one from another; is the folder on a disk "
            "that all nodes share?"
        )


def _resume(
    newest: Newest,
    settings: Settings,
    data: Mapping[str, Any],
    pretrainer: Pretrainer,
    optimizer: torch.optim.Optimizer,
) -> list[Record]:
    """Load a checkpoint, and return its history."""
    path, state = newest
    kept = kept_settings(f"{path}: settings", _part(newest, "settings"))
    differing = [key for key in Settings.model_fields if getattr(kept, key) != getattr(settings, key)]
    if differing:
        raise UsageError(f"{path}: was made with another {', '.join(differing)}; resume with the same settings")
    seen = state.get("data", data)  # an earlier release did not keep them
    if other := next((key for key in ("fingerprint", "protocol") if seen[key] != data[key]), None):
        what = f"{seen['dataset']} {seen['protocol']}, {seen['path']}"
        now = data["protocol"] if other == "protocol" else f"{data['path']}, which holds something else"
        raise UsageError(f"{path}: was trained on {what}, not {now}; resume on the same, or start a new run")
    if "optimizer" not in state:
        raise UsageError(f"{path}: has no optimiser's state, since it was imported; evaluate it, or train anew")
    tensors, history = _part(newest, "pretrainer"), _part(newest, "history")
    made = [dict(group) for group in optimizer.param_groups]
    try:
        pretrainer.load_state_dict(tensors)
        optimizer.load_state_dict(state["optimizer"])
        check_optimizer(optimizer, made)
    except Exception as error:  # PyTorch raises anything for what does not fit
        if is_out_of_memory(error):
            raise
        what = " ".join(str(error).splitlines()[:2])
        raise DataError(f"{path}: its tensors are not those of its settings ({what})") from error
    return history


def _part(newest: Newest, name: str) -> Any:
    """What a checkpoint holds under a name. Raises DataError if that is not there, or not of its kind."""
    part = newest.state.get(name)
    if not isinstance(part, list if name == "history" else Mapping):
        raise DataError(f"{newest.path}: holds no {name}")
    return part
