"""Parts of a space file as typed models, and what may stand in them: names, numbers, lists, mappings."""

import sys
from collections.abc import Callable, Collection
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema

from cmd_tune.config import Settings, check_setting
from cmd_tune.errors import did_you_mean
from cmd_tune.mistakes import Mistakes, found, reason, unknown

LARGEST = sys.float_info.max

T = TypeVar("T")


class FileModel(BaseModel):
    """A mapping of a space file. `example`: how to write it. Keys that it does not have are mistakes.

    What its validators say in a ValueError is a mistake at the key that they belong to.
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
    """Of a type T | None: what is written is read as T, so that null is no way to leave a key out."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (written,) = (part for part in get_args(source) if part is not type(None))
        return handler.generate_schema(written)


IfWritten = Annotated[T | None, _Written()]  # of a key that may be left out; its default is None


def one_of(value: Any, known: Collection[str]) -> str:
    """Raises ValueError with the nearest of the known names."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{found(value)} is unknown, {did_you_mean(value if isinstance(value, str) else '', known)}")
    return value


def text(value: Any) -> str:
    """Raises ValueError for what is no text, or an empty one."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"should be a name; found {found(value)}")
    return value


def number(value: Any) -> float:
    """Raises ValueError for what is no finite number; a whole one stays an int."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError(f"should be a finite number; found {found(value)}")
    return value


def whole(value: Any, least: int) -> int:
    """Raises ValueError for what is no whole number, or below the least."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"should be a whole number of {least} or more; found {found(value)}")
    return value


def at_least(least: int) -> PlainValidator:
    """Of a whole number."""
    return PlainValidator(lambda value: whole(value, least))


Text = Annotated[str, PlainValidator(text)]
Number = Annotated[float, PlainValidator(number)]


def check_mapping(value: Any, example: str) -> None:
    """Raises ValueError for what is no mapping."""
    if not isinstance(value, dict):
        raise ValueError(f"should be a mapping ({example}); found {found(value)}")


def read_mapping(
    value: Any, example: str, read: Callable[[str, Any], T], known: Collection[str] | None = None
) -> dict[str, T]:
    """Each part of a mapping by its key. known: the keys that it may have, if not any. Raises all mistakes at once."""
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
    """Each item of a list. Raises all mistakes at once."""
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
