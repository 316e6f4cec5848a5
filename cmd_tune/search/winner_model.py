"""The encoder of a search's winner as a model for the tracker's registry."""

from pathlib import Path

import cmd_tune
from cmd_tune.evaluate import clip_encoder
from cmd_tune.search.plan import Plan
from cmd_tune.search.run_texts import lasting_checkpoint
from cmd_tune.search.study.trial_record import TrialRecord
from cmd_tune.tracking import Model
from cmd_tune.train.saved_checkpoint import open_saved

MODEL = "encoder.pt"  # in a search's folder: the winner's encoder alone
# What the encoder's code does without, and the packages that it does not.
_LEFT_OUT = ("search", "search_spaces", "runs", "tracking", "commands", "cli.py", "__main__.py")
_PACKAGES = ("torch", "numpy", "pyarrow", "pydantic", "pyyaml")


def model_name(experiment: str) -> str:
    """The name of all encoders of a data set, a protocol and a normalisation: those of an experiment, and "-encoder".

    A registry takes no slash, colon or dot.
    """
    return "".join("-" if mark in "/:." else mark for mark in experiment) + "-encoder"


def winner_model(plan: Plan, best: TrialRecord) -> Model | None:
    """The encoder of the best trial, written into the search's folder; None if its checkpoint is gone.

    Raises CmdTuneError if the checkpoint or the store cannot be read, or the file not be written.
    """
    checkpoint = lasting_checkpoint(best)
    if not checkpoint.exists():
        return None
    metric = plan.space.metric
    saved, store = open_saved(checkpoint), plan.source.store()
    weights = plan.folder / MODEL
    clip_encoder.save_clip_encoder(weights, saved, store)
    settings, (joints, coordinates, bodies) = saved.settings, store.frame_shape()
    width = len(settings.modalities) * saved.encoders().feature_size
    refit = f" ({checkpoint.parent.name})" if checkpoint.parent != best.folder else ""
    return Model(
        name=model_name(plan.experiment),
        about=f"Encoders of skeleton clips, pretrained without labels by cmd_tune on {plan.dataset}.",
        note=(
            f"The encoder of {best.name}{refit} of the search {plan.name}.\n\n"
            f"In: clips, (N, T, {joints}, {coordinates}, {bodies}), float32: joints of {store.layout.name}, normalised "
            f"by the family {store.normalization}, as the store has them. The middle 95 % of the T frames are resized "
            f"to {settings.frames}.\n\n"
            f"Out: features, (N, {width}): those of {', '.join(settings.modalities)}, end to end."
        ),
        weights=weights,
        digest=f"{plan.id}-{saved.fingerprint}",
        loader=clip_encoder.__name__,
        code=Path(cmd_tune.__file__).parent,
        code_left_out=_LEFT_OUT,
        packages=_PACKAGES,
        shape_in=(-1, -1, joints, coordinates, bodies),
        shape_out=(-1, width),
        metric=metric,
        score=best.score(metric) or 0.0,
        maximize=plan.space.maximize,
        data=plan.fingerprint,
        tags={
            "cmd_tune.search": plan.name,
            "cmd_tune.id": plan.id,
            "cmd_tune.trial": str(best.index),
            "cmd_tune.normalization": store.normalization,
        },
    )
