"""Space files as files: found by name, and named in one line where they are none."""

from collections.abc import Callable
from pathlib import Path

import pytest

import cmd_tune
from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.spaces.space_file import find_space, load_space
from cmd_tune.search.study.early_stopping import EARLY_STOPPING
from cmd_tune.search.study.methods import METHODS

Load = Callable[..., Space]


def test_find_space_prefers_a_path_to_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(cmd_tune.__file__).parent.parent / "search_spaces" / "temps.yaml"
    assert find_space("temps") == find_space("temps.yaml") == find_space(str(shipped)) == shipped
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temps.yaml").touch()
    assert find_space("temps.yaml") == Path("temps.yaml")
    with pytest.raises(UsageError, match=r"^--space tepms.yaml: no such file.*did you mean 'temps'\?$"):
        find_space("tepms.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"# nothing yet\n", "is empty"),
        (b"- tpe\n", "should be a mapping"),
        (b"tpe", "should be a mapping"),
        (b"method: tpe\nmetric: {name: a\nparameters: 3\n", "line 3: "),
        (b"method: tpe\nparameters:\n\ttopk: 3\n", "line 3: "),
        (b"method: tpe\nmetric: {name: a, goal: maximize}\nmethod: grid\n", "line 3: 'method' is written twice"),
        (
            b"method: tpe\nparameters:\n  topk: {min: 1, max: 2}\n  topk: {value: 2}\n",
            "line 4: 'topk' is written twice",
        ),
        (b"method: !!python/object:os.system {}\n", "line 1: could not determine a constructor"),
        (b"method: *tpe\n", "line 1: found undefined alias"),
        (b"{[1]: 2, {}: 3}\n", "line 1: "),
        (b"method: \xff\xfe\n", "is not YAML text"),
        (b"method: \x00\n", "is not YAML text"),
        (b"[" * 1000, "is not YAML text"),
    ],
)
def test_a_file_that_is_no_space_is_named_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_space(path, METHODS, EARLY_STOPPING)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.yaml: cannot be read: No such file or directory$"):
        load_space(tmp_path / "gone.yaml", METHODS, EARLY_STOPPING)
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory$"):
        load_space(tmp_path, METHODS, EARLY_STOPPING)


def test_nested_aliases_do_not_fill_the_memory(load: Load) -> None:
    bomb = "[&a0 [1, 2]" + "".join(f", &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)) + "]"
    with pytest.raises(
        UsageError, match=r"method: .* is unknown, known: auto, cells, cmaes, gp, grid, qmc, random, tpe$"
    ):
        load(method=bomb)


def test_aliases_and_merge_keys_are_not_repetitions(load: Load) -> None:
    """`<<` lays one mapping under another, which is what YAML has it for."""
    space = load(
        parameters="""
  student_temperature: &range {distribution: log_uniform_values, min: 0.01, max: 1.0}
  teacher_temperature: {<<: *range, max: 0.2}"""
    )
    assert space.parameters["teacher_temperature"].high == 0.2
    assert space.parameters["teacher_temperature"].low == 0.01
