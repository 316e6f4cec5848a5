"""What the tests of space files share: files of the keys asked for, and checks of how they are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.spaces.space_file import load_space
from cmd_tune.search.study.early_stopping import EARLY_STOPPING
from cmd_tune.search.study.methods import METHODS

USUAL = {"method": "tpe", "metric": "{name: val/knn/fused, goal: maximize}", "parameters": "{topk: {min: 16, max: 64}}"}
CELLS = "[{topk: 4, epochs: 3, reported: {test/knn/joint: 70}}, {topk: 8, epochs: 3}, {topk: 4, epochs: 5}]"
USUAL_TABLE = {"method": "cells", "metric": "{name: val/knn/fused, goal: maximize}", "cells": CELLS}


def loader(folder: Path, usual: dict[str, str]) -> Callable[..., Space]:
    def load(**keys: str | None) -> Space:
        path = folder / "mine.yaml"
        path.write_text("".join(f"{key}: {text}\n" for key, text in {**usual, **keys}.items() if text is not None))
        return load_space(path, METHODS, EARLY_STOPPING)

    return load


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Space]:
    """Loads a search with top-level keys changed, each written as YAML; None leaves a key out."""
    return loader(tmp_path, USUAL)


@pytest.fixture
def load_table(tmp_path: Path) -> Callable[..., Space]:
    """The same for a table of three cells."""
    return loader(tmp_path, USUAL_TABLE)


@pytest.fixture
def check_mistake() -> Callable[..., None]:
    """Checks that a space file of these keys is refused in one line: the place in it, what is wrong."""

    def check(load: Callable[..., Space], keys: dict[str, str | None], place: str, said: str) -> None:
        with pytest.raises(UsageError) as caught:
            load(**keys)
        message = str(caught.value)
        file, found, _ = message.split(": ", 2)
        assert Path(file).name == "mine.yaml"
        assert found == place
        assert said in message
        assert len(message.splitlines()) == 1

    return check


@pytest.fixture
def check_mistakes() -> Callable[..., None]:
    """Checks that a space file of these keys is refused with just these lines, in this order, each after its name."""

    def check(load: Callable[..., Space], keys: dict[str, str | None], lines: list[str]) -> None:
        with pytest.raises(UsageError) as caught:
            load(**keys)
        said = [line.split("mine.yaml: ", 1) for line in caught.value.lines]
        assert [line for _, line in said] == lines
        assert len(str(caught.value).splitlines()) == len(lines)

    return check
