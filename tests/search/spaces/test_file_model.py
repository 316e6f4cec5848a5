"""Values and mappings of a space file: what each reader takes, at its edges, and what it says of anything else."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from cmd_tune.mistakes import refusal
from cmd_tune.search.spaces.file_model import (
    LARGEST,
    FileModel,
    IfWritten,
    Number,
    Text,
    number,
    one_of,
    read_list,
    read_mapping,
    read_settings,
    setting,
    text,
    whole,
)


class Pair(FileModel):
    example: ClassVar[str] = "{name: a, low: 1}"

    name: Text
    low: IfWritten[Number] = None


def lines(read: Any, *arguments: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        read(*arguments)
    return refusal("mine.yaml", caught.value).lines


@pytest.mark.parametrize("value", [0, -3, 2.5, LARGEST, -LARGEST, int(LARGEST)])
def test_a_finite_number_stays_as_it_is(value: float) -> None:
    assert number(value) == value
    assert type(number(value)) is type(value)


@pytest.mark.parametrize("value", [True, "1", None, [1], float("inf"), -float("inf"), float("nan"), 10**400])
def test_what_is_no_finite_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"^should be a finite number; found "):
        number(value)


def test_a_whole_number_from_its_least_on() -> None:
    assert [whole(value, 2) for value in (2, 10**30)] == [2, 10**30]
    for value in (1, 2.0, True, "2", None):
        with pytest.raises(ValueError, match=r"^should be a whole number of 2 or more; found "):
            whole(value, 2)


def test_a_name_is_a_text_and_one_of_those_known() -> None:
    assert text("a") == one_of("a", ("a", "b")) == "a"
    for value in ("", 3, None, ["a"]):
        with pytest.raises(ValueError, match=r"^should be a name; found "):
            text(value)
    with pytest.raises(ValueError, match=r"^'bet' is unknown, did you mean 'beta'\?$"):
        one_of("bet", ("alpha", "beta"))
    for value in (["beta"], {}, None, 3):  # also what has no hash
        with pytest.raises(ValueError, match=r"is unknown, known: alpha, beta$"):
            one_of(value, {"alpha": 1, "beta": 2})


def test_a_key_may_be_left_out_but_not_written_as_nothing() -> None:
    assert Pair.model_validate({"name": "a"}).low is None
    assert Pair.model_validate({"name": "a", "low": 3}).low == 3
    assert lines(Pair.model_validate, {"name": "a", "low": None}) == [
        "mine.yaml: low: should be a finite number; found nothing"
    ]


def test_a_key_that_is_misspelt_is_not_missing_as_well() -> None:
    assert lines(Pair.model_validate, {"nam": "a"}) == ["mine.yaml: nam: unknown key, did you mean 'name'?"]
    assert lines(Pair.model_validate, {"zzz": "a"}) == [
        "mine.yaml: zzz: unknown key, known: low, name",
        "mine.yaml: name: is missing; write {name: a, low: 1}",
    ]
    assert lines(Pair.model_validate, {3: "a", "name": "", "low": "x"}) == [
        "mine.yaml: 3: unknown key, known: low, name",
        "mine.yaml: name: should be a name; found ''",
        "mine.yaml: low: should be a finite number; found 'x'",
    ]


@pytest.mark.parametrize("value", [None, [], "name: a", 3])
def test_what_is_no_mapping_is_told_how_to_be_written(value: object) -> None:
    (line,) = lines(Pair.model_validate, value)
    assert line.startswith("mine.yaml: should be a mapping ({name: a, low: 1}); found ")


def test_a_model_that_was_read_already_is_taken_as_it_is() -> None:
    pair = Pair.model_validate({"name": "a"})
    assert Pair.model_validate(pair) is pair


def test_all_mistakes_of_a_mapping_and_of_a_list_are_raised_at_once() -> None:
    def positive(value: Any) -> float:
        if number(value) <= 0:
            raise ValueError(f"{value} is not above 0")
        return value

    def entry(key: str, value: Any) -> tuple[float, ...]:
        return read_list(value, "numbers", positive)

    assert read_mapping({"a": [1, 2], 3: []}, "a: numbers", entry) == {"a": (1, 2), "3": ()}
    assert lines(read_mapping, {"a": [1, 0, "x"], "b": 3, "c": []}, "a: numbers", entry, ("a", "b")) == [
        "mine.yaml: a[1]: 0 is not above 0",
        "mine.yaml: a[2]: should be a finite number; found 'x'",
        "mine.yaml: b: should be a list of numbers; found 3",
        "mine.yaml: c: unknown key, known: a, b",
    ]


def test_settings_are_as_json_holds_them() -> None:
    """1 of a temperature is 1.0, and a tuple is a list: what is read back from a file is equal."""
    assert read_settings({"student_temperature": 1, "modalities": ["joint"]}) == {
        "student_temperature": 1.0,
        "modalities": ["joint"],
    }
    assert type(setting("student_temperature", 1)) is float
    assert type(setting("epochs", 3.0)) is int
    assert type(setting("modalities", ["joint", "bone"])) is list
    assert lines(read_settings, {"epochs": 0, "epohcs": 3}) == [
        "mine.yaml: epochs: 0 should be greater than or equal to 1",
        "mine.yaml: epohcs: unknown key, did you mean 'epochs'?",
    ]
