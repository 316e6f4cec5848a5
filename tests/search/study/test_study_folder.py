"""A study lies in its folder, whatever that is called."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.settings import Settings
from tests.odd_names import ALL


@pytest.mark.parametrize("name", ["a?b", "a%3Fb", ALL], ids=ascii)
def test_a_study_lies_in_its_folder(
    name: str,
    tmp_path: Path,
    make_space: Callable[..., Space],
    tiny: Callable[..., Settings],
) -> None:
    space = make_space()
    space.path.unlink()
    (tmp_path / name).mkdir()
    trial = SearchStudy(tmp_path / name, space, tiny(), "quick", 4).next()
    assert trial is not None
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in (tmp_path / name).iterdir()} == {"study.db", "trials"}
    with sqlite3.connect((tmp_path / name / "study.db").as_uri(), uri=True) as study:
        assert study.execute("select count(*) from trials").fetchall() == [(1,)]
    again = SearchStudy(tmp_path / name, space, tiny(), "quick", 4).next()
    assert again is not None
    assert again.values == trial.values
