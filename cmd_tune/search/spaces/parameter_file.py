"""Reads a parameter from a space file, in the words of W&B sweeps."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

from pydantic import PlainValidator, model_validator

from cmd_tune.mistakes import Mistakes, mistake
from cmd_tune.search.spaces.constraints import Constraint, parse_constraint
from cmd_tune.search.spaces.file_model import FileModel, IfWritten, Number, one_of, read_list, setting, share
from cmd_tune.search.spaces.parameter import LOG, Parameter, Prior, is_whole
from cmd_tune.search.spaces.sweep_file import own_parameter
from cmd_tune.settings import Settings

MOST_MULTIPLES = 2**53  # of q, which samplers treat as float64

_RANGE = ("min", "max")
_NEEDS: dict[str, tuple[str, ...]] = {  # the keys of each distribution; those on multiples may have q
    "constant": ("value",),
    "categorical": ("values",),
    **dict.fromkeys(("uniform", "int_uniform", "q_uniform", *LOG), _RANGE),
}
DISTRIBUTIONS = tuple(_NEEDS)
RANGES = tuple(kind for kind, keys in _NEEDS.items() if keys == _RANGE)


def _distribution(word: Any) -> str:
    return one_of(word, _NEEDS)


def _values(value: Any) -> tuple[Any, ...]:
    return read_list(value, "values", lambda item: item)


class PriorSpec(FileModel):
    """A prior as it is written."""

    example: ClassVar[str] = "{mode: value, confidence: 0.5}"

    mode: Any
    confidence: Annotated[float, PlainValidator(share)] = 0.5


class ParameterSpec(FileModel):
    """A parameter as it is written."""

    example: ClassVar[str] = "value, values, or min and max"

    distribution: IfWritten[Annotated[str, PlainValidator(_distribution)]] = None
    value: Any = None
    values: IfWritten[Annotated[tuple[Any, ...], PlainValidator(lambda xs: read_list(xs, "values", lambda x: x))]] = (
        None
    )
    min: IfWritten[Number] = None
    max: IfWritten[Number] = None
    q: IfWritten[Number] = None
    prior: IfWritten[PriorSpec] = None
    when: IfWritten[Annotated[Constraint, PlainValidator(parse_constraint)]] = None

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        kind, written = self.kind, self.model_fields_set
        needs = _NEEDS[kind]
        with Mistakes() as mistakes:
            for key in needs:
                if key not in written:
                    mistakes.add(f"is missing; {kind} takes {' and '.join(needs)}", key)
            for key in ParameterSpec.model_fields:
                goes = key in (*needs, "distribution") or (key == "q" and kind.startswith("q_"))
                goes |= key in ("prior", "when") and kind != "constant"
                if key in written and not goes:
                    mistakes.add(f"does not go with {kind}, which takes {' and '.join(needs)}; remove it", key)
        return self

    @property
    def kind(self) -> str:
        """The distribution: if none is written, the one that W&B takes. Raises ValueError if nothing is to be tried."""
        written = self.model_fields_set
        if self.distribution is not None:
            return self.distribution
        if "value" in written or "values" in written:
            return "constant" if "value" in written else "categorical"
        if "min" not in written and "max" not in written:
            raise ValueError("says nothing to try; give it value, values, or min and max")
        return "int_uniform" if isinstance(self.min, int) and isinstance(self.max, int) else "uniform"

    def parameter(self, name: str) -> Parameter:
        """The parameter of this setting. Raises ValueError with the mistakes, each at its key."""
        parameter = replace(self._values(name), when=self.when)
        if self.prior is None:
            return parameter
        with Mistakes() as mistakes, mistakes.at("prior", "mode"):
            mode = setting(name, self.prior.mode)
            if problem := parameter.why_invalid(mode):
                raise ValueError(f"{mode} {problem}; change it or the parameter")
        return replace(parameter, prior=Prior(mode, self.prior.confidence))

    def _values(self, name: str) -> Parameter:
        if self.kind == "constant":
            with Mistakes() as mistakes, mistakes.at("value"):
                choices: tuple[Any, ...] = (setting(name, self.value),)
            return Parameter(name, "constant", choices=choices)
        if self.values is not None:
            return Parameter(name, "categorical", choices=self._choices(name, self.values))
        assert self.min is not None
        assert self.max is not None
        return self._range(name, self.min, self.max)

    def _choices(self, name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        choices: list[Any] = []
        with Mistakes() as mistakes:
            for index, value in enumerate(values):
                with mistakes.at("values", index):
                    choice = setting(name, value)
                    if choice in choices:
                        raise ValueError(f"{choice} is listed twice; remove one")
                    choices.append(choice)
            if not values:
                mistakes.add("is empty; list one value or more", "values")
        return tuple(choices)

    def _range(self, name: str, low: float, high: float) -> Parameter:
        if Settings.model_fields[name].annotation not in (int, float):
            raise ValueError("is not a number and has no range; list its values")
        kind = self.kind
        stepped = kind.startswith("q_")
        q = (1 if self.q is None else self.q) if stepped else int(kind == "int_uniform")
        with Mistakes() as mistakes:
            if low > high:
                mistakes.add(f"{low} is above max, {high}; swap them", "min")
            elif kind in LOG and low <= 0:
                mistakes.add(f"{low} has no logarithm; {kind} needs a min above 0", "min")
            whole = kind if kind == "int_uniform" else name if is_whole(name) else ""
            for key, number in (("min", low), ("max", high)) if kind == "int_uniform" else (("q", q),):
                if whole and not float(number).is_integer():
                    mistakes.add(f"{number} is not whole; {whole} takes whole numbers", key)
            if stepped and q <= 0:
                mistakes.add(f"{q} is not above 0; results are multiples of q", "q")
            if is_whole(name) and not q and not stepped:
                mistakes.add(
                    f"takes whole numbers, not {kind}; write distribution: int_uniform or q_log_uniform_values"
                )
        with Mistakes() as mistakes:
            ends: Mapping[str, float] = {"min": low, "max": high}
            for key, end in ends.items():
                with mistakes.at(key):
                    setting(name, end)
        parameter = Parameter(name, kind, setting(name, low), setting(name, high), q)
        if q:
            first, last = parameter.multiples()
            if first > last or last > MOST_MULTIPLES:
                amount = "no multiple" if first > last else "too many multiples"
                raise mistake(f"{q} has {amount} in {low} to {high}; change q or the range", "q")
        return parameter


def read_parameter(name: str, value: Any) -> Parameter:
    """Read a parameter. Raises ValueError with the mistakes, each at its key."""
    return ParameterSpec.model_validate(own_parameter(name, value)).parameter(name)
