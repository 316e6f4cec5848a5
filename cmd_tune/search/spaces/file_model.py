"""The base of the typed models of a space file, and readers of its values: names, numbers, lists, mappings."""

import sys
from collections.abc import Callable, Collection
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema

from cmd_tune.errors import did_you_mean
from cmd_tune.mistakes import Mistakes, found, reason, unknown
from cmd_tune.settings import Settings, check_setting

LARGEST = sys.float_info.max

T = TypeVar("T")


class FileModel(BaseModel):
    """A mapping of a space file. `example`: how to write it. Unknown keys are mistakes.

    A ValueError of a validator is a mistake at the validator's key.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    example: ClassVar[str]

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, cls):
            return value
        check_mapping(value, cls.example)
        with Mistakes() as mistakes:
            strange = {str(key): cls.about_unknown(key, value) for key in value if key not in cls.model_fields}
            for key, message in strange.items():
                mistakes.add(message, key)
            try:
                model = read({key: part for key, part in value.items() if key in cls.model_fields})
            except ValidationError as error:
                for details in error.errors():
                    if details["type"] != "missing":
                        mistakes.add(reason(details), *details["loc"])
                    elif not any(f"'{details['loc'][0]}'?" in message for message in strange.values()):  # else misspelt
                        mistakes.add(f"is missing; write {cls.example}", *details["loc"])
        return model

    @classmethod
    def about_unknown(cls, key: object, value: dict[Any, Any]) -> str:
        """What is wrong with a key of `value` that the model does not have."""
        return unknown(key, cls.model_fields)


class _Written:
    """For a field of type T | None: a written value is read as T, so a key cannot be left out by writing null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (written,) = (part for part in get_args(source) if part is not type(None))
        return handler.generate_schema(written)


IfWritten = Annotated[T | None, _Written()]  # of a key that may be left out; its default is None


def one_of(value: Any, known: Collection[str]) -> str:
    """A known name. Raises ValueError with the nearest one for any other value."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{found(value)} is unknown, {did_you_mean(value if isinstance(value, str) else '', known)}")
    return value


def text(value: Any) -> str:
    """A text. Raises ValueError if it is empty, and for any other value."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"should be a name; found {found(value)}")
    return value


def number(value: Any) -> float:
    """A finite number; a whole one stays an int. Raises ValueError for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError(f"should be a finite number; found {found(value)}")
    return value


def whole(value: Any, least: int) -> int:
    """A whole number that is not below `least`. Raises ValueError for any other value."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"should be a whole number of {least} or more; found {found(value)}")
    return value


def share(value: Any) -> float:
    """A number from 0 to 1. Raises ValueError for any other value."""
    if not 0 <= (part := number(value)) <= 1:
        raise ValueError(f"should be a share from 0 to 1; found {found(value)}")
    return part


def at_least(least: int) -> PlainValidator:
    """The validator of a whole number that is not below `least`, which its JSON schema says, too."""
    return PlainValidator(lambda value: whole(value, least), json_schema_input_type=Annotated[int, Field(ge=least)])


Text = Annotated[str, PlainValidator(text)]
Number = Annotated[float, PlainValidator(number)]


def check_mapping(value: Any, example: str) -> None:
    """Raise ValueError unless the value is a mapping."""
    if not isinstance(value, dict):
        raise ValueError(f"should be a mapping ({example}); found {found(value)}")


def read_mapping(
    value: Any, example: str, read: Callable[[str, Any], T], known: Collection[str] | None = None
) -> dict[str, T]:
    """Read each value of a mapping. known: the keys that it may have; None: any. Raises all mistakes at once."""
    check_mapping(value, example)
    parts = {}
    with Mistakes() as mistakes:
        for key, part in value.items():
            with mistakes.at(str(key)):
                if known is not None and key not in known:
                    raise ValueError(unknown(key, known))
                parts[str(key)] = read(str(key), part)
    return parts


def read_list(value: Any, example: str, read: Callable[[Any], T]) -> tuple[T, ...]:
    """Read each item of a list. Raises all mistakes at once."""
    if not isinstance(value, list):
        raise ValueError(f"should be a list of {example}; found {found(value)}")
    items = []
    with Mistakes() as mistakes:
        for index, item in enumerate(value):
            with mistakes.at(index):
                items.append(read(item))
    return tuple(items)


def setting(name: str, value: Any) -> Any:
    """A setting's value as Optuna's attributes, JSON and YAML hold it: a list is a list. Raises ValueError."""
    checked = check_setting(name, value)
    return list(checked) if isinstance(checked, tuple) else checked


def read_settings(value: Any) -> dict[str, Any]:
    """Settings with their values, each checked by itself. Raises all mistakes at once."""
    return read_mapping(value, "setting: value", setting, Settings.model_fields)
