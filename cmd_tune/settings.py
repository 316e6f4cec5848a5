"""Every number of a pretraining run: typed, frozen, named once. Presets set the scale; an unknown key is an error."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cmd_tune.data.splits import Holdout
from cmd_tune.data.views import MODALITIES, VIEWS
from cmd_tune.errors import UsageError, did_you_mean
from cmd_tune.mistakes import Mistakes, reason
from cmd_tune.model.encoders import ENCODERS
from cmd_tune.model.objectives import DISTILLATIONS, OBJECTIVES
from cmd_tune.yaml_files import parse_yaml, read_yaml

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
AUTO = "auto"  # a precision: a run replaces it at its start
if TYPE_CHECKING:  # to whom a registry's names are any text
    ObjectiveName: TypeAlias = str
    DistillationName: TypeAlias = str
    EncoderName: TypeAlias = str
    ViewName: TypeAlias = str
else:
    ObjectiveName, DistillationName = Literal[*OBJECTIVES], Literal[*DISTILLATIONS]
    EncoderName, ViewName = Literal[*ENCODERS], Literal[*VIEWS]


class Settings(BaseModel):
    """One run of CMD. Defaults are the paper's for NTU-60 and NTU-120 (Mao et al., ECCV 2022).

    A new setting's default is what was done before there was one: `kept_settings` relies on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    objective: ObjectiveName = Field(
        "cmd", description="base: contrast alone; or with it, or in its place, a term between modalities"
    )
    stages: Literal["one", "two"] = Field("one", description="two: base first, then the objective")
    stage_switch: Share = Field(0.5, description="of two stages: share of the epochs that are base's")
    modalities: tuple[str, ...] = Field(
        ("joint", "motion", "bone"),
        description=f"branches, each with its own teacher and bank: two or more of {', '.join(MODALITIES)}",
    )
    mcl_form: Literal["added", "instead"] = Field("added", description="of mcl: its term added to base's or instead")
    crossclr_topk: Count = Field(1, description="of crossclr: positives that another modality finds")
    crossclr_context: Literal["with", "without"] = Field(
        "with", description="of crossclr: products of two modalities' similarities among the logits"
    )
    distillation: DistillationName = Field(
        "pairwise", description="of cmd: each teacher to each student, or all teachers' mean at linear cost"
    )
    teacher_temperature: Positive = Field(0.05, description="τ_t of the distillation")
    student_temperature: Positive = Field(0.1, description="τ_s of the distillation")
    contrast_temperature: Positive = Field(0.07, description="τ_c of the contrastive term")
    distill_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="λ of cmd; 0 has base's result")
    queue_size: Count = Field(16384, description="K, keys in each memory bank")
    topk: Count = Field(8192, description="neighbours of the teacher; at most queue_size")
    key_momentum: Share = Field(0.999, description="m of the key encoders")

    encoder: EncoderName = Field("gru", description="gru: the authors' recurrent encoder")
    hidden_size: Count = Field(1024, description="H of each GRU")
    layers: Count = Field(3, description="GRU layers")
    embedding_size: Count = Field(128, description="D of the compared embeddings")

    views: ViewName = Field("crop_shear", description="crop_shear: a crop in time, then a shear or corrupted joints")
    frames: Count = Field(64, description="T, frames of a view")
    crop_min_frames: Count = Field(64, description="shortest temporal crop, in frames")
    crop_min_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="shortest temporal crop, as a share of the clip"
    )
    shear_range: Annotated[float, Field(ge=0)] = Field(1.0, description="largest entry of a shear or corruption matrix")
    corrupted_share: Share = Field(0.6, description="share of joints that corruption spoils")

    holdout: Holdout = Field(
        "validation",
        description="validation: a quarter of the training set is not pretrained on, to validate on; none: all is, "
        "and there are no val/ scores",
    )
    epochs: Count = Field(451, description="passes over the pretraining clips")
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="global batch, over all workers of a trial")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd or adamw")
    learning_rate: Positive = Field(0.01, description="at the start")
    sgd_momentum: Share = Field(0.9, description="of SGD")
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-4, description="on every parameter")
    schedule: Literal["step", "cosine"] = Field("step", description="step: ×0.1 once; cosine: to 0 at the end")
    step_epoch: Count = Field(351, description="epochs before the step schedule's ×0.1")
    precision: Literal["float32", "tf32", "bfloat16", "auto"] = Field(
        "float32",
        description="of the encoders' recurrences, all else is float32; tf32: float32, all products rounded by a GPU; "
        "auto: the fastest here, as measured at the start",
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of initial values, order and augmentation")

    evaluate_every: Count = Field(25, description="epochs between validations; the last epoch is always validated")
    checkpoint_every: Count = Field(5, description="epochs between checkpoints; the last epoch is always kept")

    @field_validator("modalities")
    @classmethod
    def _known_modalities(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in MODALITIES:
                raise ValueError(f"unknown modality '{name}', {did_you_mean(name, MODALITIES)}")
        if len(set(names)) != len(names) or not names:
            raise ValueError("needs one or more modalities, each once")
        return names

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        with Mistakes() as mistakes:
            for rule in self._broken_rules():
                mistakes.add(rule)
        return self

    def _broken_rules(self) -> Iterator[str]:
        for key in ("topk", "crossclr_topk"):
            if getattr(self, key) > self.queue_size:
                yield (
                    f"{key} {getattr(self, key)} exceeds queue_size {self.queue_size}; "
                    f"at most {self.queue_size} neighbours"
                )
        if self.objective == "base" and self.stages == "two":
            yield "stages two ends with an objective other than base; choose another, or stages one"
        if OBJECTIVES[self.objective].cross_modal and len(self.modalities) < 2:
            yield (
                f"modalities {self.modalities[0]}: objective {self.objective} is between modalities; "
                "name two or more, or objective base"
            )


# What differs from the paper so that a first search takes minutes on a laptop's CPU. Found on Northwestern-UCLA's
# validation split and the made-up actions: docs/experiments/2026-11-22-quick-preset.md has the curves.
_QUICK: dict[str, Any] = {
    "hidden_size": 64,
    "layers": 2,
    "embedding_size": 64,
    "frames": 16,
    "queue_size": 192,
    "topk": 32,
    "key_momentum": 0.97,
    "crop_min_frames": 16,
    "crop_min_share": 0.3,
    "corrupted_share": 0.3,
    "epochs": 40,
    "optimizer": "adamw",
    "learning_rate": 0.004,
    "schedule": "cosine",
    "evaluate_every": 8,
    "checkpoint_every": 1,
}

PRESETS: dict[str, dict[str, Any]] = {"quick": _QUICK, "paper": {}}


def make_settings(preset: str, *layers: tuple[str, Mapping[str, Any]]) -> Settings:
    """Settings of a preset with later layers laid over it, each with the name of its source, for messages.

    Raises UsageError with a line per mistake: the layer, the key, what is wrong, the nearest valid name.
    """
    if preset not in PRESETS:
        raise UsageError(f"preset: '{preset}' is unknown, {did_you_mean(preset, PRESETS)}")
    merged = dict(PRESETS[preset])
    source = dict.fromkeys(merged, f"preset {preset}")
    lines = []
    for where, values in layers:
        for key, value in values.items():
            if key not in Settings.model_fields:
                lines.append(f"{where}: unknown setting '{key}', {did_you_mean(str(key), Settings.model_fields)}")
            elif isinstance(value, bool):
                lines.append(f"{where}: {key} = {value!r}: {_TRUTH_VALUE}")
            else:
                merged[key], source[key] = value, where
    last = next((name for name, values in reversed(layers) if values), f"preset {preset}")
    unread = bool(lines)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        for details in error.errors():
            key = str(details["loc"][0]) if details["loc"] else ""
            if not key and unread:
                continue  # rules between settings, which one that is not read may have kept
            value = f"{key} = {merged[key]!r}: " if key in merged else ""
            lines.append(f"{source.get(key, last)}: {value}{reason(details)}")
    if lines:
        raise UsageError(*dict.fromkeys(lines))
    return settings


def kept_settings(where: str, values: Mapping[str, Any]) -> Settings:
    """Settings that a run's folder or a checkpoint keeps, also one of an earlier release.

    A setting that is not among them is younger than they are. It has its default, whatever the preset of the run: that
    is what was done before there was one. Raises UsageError as `make_settings`; `where` is the file.
    """
    return make_settings("paper", (where, values))  # whose values are the defaults


_TRUTH_VALUE = "is a truth value; write a number or a name"


def _own_settings(key: str, read_by: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The settings that some of a registry's variants read and others do not, each with the variants that do."""
    every = {name for names in read_by.values() for name in names}
    readers = {name: tuple(variant for variant, names in read_by.items() if name in names) for name in every}
    return {name: (key, variants) for name, variants in readers.items() if len(variants) < len(read_by)}


# Settings that do nothing unless another one has one of these values.
APPLIES: dict[str, tuple[str, tuple[str, ...]]] = {
    **_own_settings(
        "objective", {name: [field.name for field in fields(method)] for name, method in OBJECTIVES.items()}
    ),
    **_own_settings("encoder", {name: encoder.settings for name, encoder in ENCODERS.items()}),
    **_own_settings("views", {name: [field.name for field in fields(view)] for name, view in VIEWS.items()}),
    "stage_switch": ("stages", ("two",)),
    "sgd_momentum": ("optimizer", ("sgd",)),
    "step_epoch": ("schedule", ("step",)),
    "evaluate_every": ("holdout", ("validation",)),
}


def check_applies(
    where: str, keys: Iterable[str], settings: Settings, tried: Mapping[str, Collection[Any]] | None = None
) -> None:
    """Raise UsageError for those of some settings that would do nothing, a line each.

    tried: the values that trials give to a setting, in place of that in `settings`.
    """
    lines = []
    for key in keys:
        if key not in APPLIES:
            continue
        other, values = APPLIES[key]
        there = (tried or {}).get(other, (getattr(settings, other),))
        if not set(there) & set(values):
            asked = f"{' and '.join(map(str, there))} {'is' if len(there) == 1 else 'are'} asked for"
            wanted = f"{other} {' and '.join(values)}"
            lines.append(f"{where}: {key}: applies to {wanted} alone, and {asked}; leave it out")
    if lines:
        raise UsageError(*lines)


def check_overrides(
    where: str, keys: Iterable[str], settings: Settings, tried: Mapping[str, Collection[Any]] | None = None
) -> None:
    """As `check_applies`, for settings that replace a preset's: topk may have to follow queue_size, used or not."""
    check_applies(where, [key for key in keys if key != "topk"], settings, tried)


def check_setting(key: str, value: Any) -> Any:
    """One value as `Settings` would hold it, checked against its own field alone. Raises ValueError: what is wrong."""
    if isinstance(value, bool):
        raise ValueError(f"{value} {_TRUTH_VALUE}")
    # The related settings have values with which any single value is valid.
    related = {"topk": 1, "crossclr_topk": 1, "queue_size": 2**62, "objective": "cmd" if key == "stages" else "base"}
    try:
        return getattr(Settings(**{**related, key: value}), key)
    except ValidationError as error:
        raise ValueError(f"{shortened(value)} {reason(error.errors()[0])}") from None


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """`key=value` texts of `--set`; values are read as YAML (numbers, lists, words). Raises UsageError."""
    overrides, lines = {}, []
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            if not equals:
                raise UsageError(f"--set {text}: expected key=value")
            overrides[key.strip()] = parse_yaml(value, f"--set {text}")
        except UsageError as error:
            lines += error.lines
    if lines:
        raise UsageError(*lines)
    return overrides


def read_settings(path: Path) -> dict[str, Any]:
    """A YAML file of settings as plain values. Raises UsageError if it is missing or no mapping."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected 'setting: value' lines")
    return content
