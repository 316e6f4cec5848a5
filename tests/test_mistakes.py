"""Mistakes are gathered under their keys, and each becomes a line."""

import pytest
from pydantic import BaseModel, ValidationError

from cmd_tune.mistakes import Mistakes, mistake, refusal


class Ends(BaseModel):
    low: int
    high: list[int]


def test_what_parts_raise_is_gathered_under_their_keys():
    mistakes = Mistakes()
    with mistakes.at("range"):
        Ends.model_validate({"low": "x", "high": [1, "y"]})
    with mistakes.at("cells", 2):
        raise mistake("is {odd}", "seed")
    with mistakes.at():
        raise ValueError("is wrong\nas a whole")
    with pytest.raises(ValidationError) as caught, mistakes:
        mistakes.add("lacks one", "a", 0, 1)
    assert refusal("mine.yaml", caught.value).lines == [
        "mine.yaml: range.low: should be a valid integer, unable to parse string as an integer",
        "mine.yaml: range.high[1]: should be a valid integer, unable to parse string as an integer",
        "mine.yaml: cells[2].seed: is {odd}",
        "mine.yaml: is wrong as a whole",
        "mine.yaml: a[0][1]: lacks one",
    ]


def test_none_is_no_error_and_others_pass():
    with Mistakes():
        pass
    mistakes = Mistakes()
    mistakes.add("lost beside what is no mistake")
    with pytest.raises(KeyError), mistakes:
        {}["key"]
