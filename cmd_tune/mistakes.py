"""Mistakes in settings and files: all of them at once, a line each with the place, what is wrong and what to do.

Whatever reads a value says in a ValueError what is wrong with it. `Mistakes` gathers those of its parts under their
keys; `refusal` turns the whole into lines. Settings and space files, and whatever is read next, share both.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from reprlib import repr as shortened
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from cmd_tune.errors import UsageError, did_you_mean, usage_error

Key = str | int  # of a mapping, or the number of an item


class Mistakes:
    """Gathers mistakes; leaving its block raises them all as one ValidationError.

    with Mistakes() as mistakes:
        for key, part in value.items():
            with mistakes.at(key):
                parts[key] = read(part)
    """

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []

    def add(self, message: str, *keys: Key) -> None:
        """A mistake at these keys, from the outermost to the innermost."""
        self._found.append(_details(message, keys))

    @contextmanager
    def at(self, *keys: Key) -> Iterator[None]:
        """Gather what the block raises, below these keys; the block ends there."""
        try:
            yield
        except ValidationError as error:
            for details in error.errors():
                self.add(reason(details), *keys, *details["loc"])
        except ValueError as error:
            self.add(str(error), *keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._found and kind is None:
            raise ValidationError.from_exception_data("mistakes", self._found)


def mistake(message: str, *keys: Key) -> ValidationError:
    """A single mistake at these keys, to be raised."""
    return ValidationError.from_exception_data("mistakes", [_details(message, keys)])


def _details(message: str, keys: tuple[Key, ...]) -> InitErrorDetails:
    text: Any = message  # typed as a literal, so that it can be a template; without a context it stays as it is
    return InitErrorDetails(type=PydanticCustomError("mistake", text), loc=keys, input=None)


def reason(details: ErrorDetails) -> str:
    """What one complaint of a validation says, without pydantic's own words around it."""
    return (
        details["msg"]
        .removeprefix("Value error, ")
        .replace("Field required", "is missing")
        .replace("Input should be", "should be")
        .replace("a valid tuple", "a list, as [joint, bone]")
    )


def refusal(where: str, error: ValidationError) -> UsageError:
    """All that a validation found in a file, in lines such as `mine.yaml: parameters.topk.values[1]: …`."""
    lines = (usage_error(_place(where, details["loc"]), reason(details)) for details in error.errors())
    return UsageError(*map(str, lines))


def _place(where: str, keys: tuple[Key, ...]) -> str:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return f"{where}: {path.removeprefix('.')}" if path else where


def unknown(key: object, known: Collection[str]) -> str:
    """What is wrong with a key that is none of the known ones."""
    return f"unknown key, {did_you_mean(str(key), known)}"


def found(value: Any) -> str:
    """What stands in a place, shortened, for an error."""
    return "nothing" if value is None else shortened(value)
