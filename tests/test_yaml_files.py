"""YAML as a person reads it, wherever it is read."""

import math
from pathlib import Path

import pytest
import yaml

from cmd_tune.data.layouts import read_layout
from cmd_tune.errors import UsageError
from cmd_tune.search.request import read_space
from cmd_tune.settings import make_settings, parse_overrides, read_settings
from cmd_tune.yaml_files import dump_yaml, parse_yaml, read_yaml

MEANT = {
    "256": 256, "-7": -7, "+5": 5, "0": 0, "1_000": 1000, "0x10": 16, "0b1": 1, "0o17": 15,
    "1e-3": 1e-3, "1E3": 1000.0, "2.5e-4": 2.5e-4, "5.": 5.0, ".5": 0.5, "007.5": 7.5, ".inf": math.inf,
    "true": True, "False": False, "~": None, "null": None, "": None,
    "yes": "yes", "no": "no", "on": "on", "off": "off", "y": "y", "=": "=",
    "1:30": "1:30", "1:30.5": "1:30.5", "2024-01-01": "2024-01-01", "2024-13-45": "2024-13-45", "1.2.3": "1.2.3",
}  # fmt: skip
UNCLEAR = {
    "0256": "'0256' is octal to some and decimal to others; write 256",
    "010": "'010' is octal to some and decimal to others; write 10",
    "-007": "'-007' is octal to some and decimal to others; write -7",
    "!!int '010'": "'010' is octal to some and decimal to others; write 10",
    "1__0": "'1__0' is no number",
    "{a: 1, a: 2}": "'a' is written twice; keep one",
    "[1, 2": "expected ',' or ']', but got '<stream end>'; not YAML, correct it there",
}


@pytest.mark.parametrize("text", MEANT, ids=repr)
def test_a_text_means_what_a_person_reads(text: str) -> None:
    value = parse_yaml(text, "here")
    assert value == MEANT[text]
    assert type(value) is type(MEANT[text])


@pytest.mark.parametrize("text", UNCLEAR)
def test_what_can_be_read_in_two_ways_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "here")
    assert str(caught.value) == f"here: {UNCLEAR[text]}"


NOT_PLAIN = (
    "!!python/object/apply:os.getcwd []", "[" * 5000, "9" * 5000, "a: \0", "? [1]\n: 2",
    "!!bool maybe", "!!timestamp soon", "!!set {a, b}", "!!binary aGk=",
)  # fmt: skip


@pytest.mark.parametrize("text", NOT_PLAIN, ids=range(len(NOT_PLAIN)))
def test_what_is_no_plain_value_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^here: ") as caught:
        parse_yaml(text, "here")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", [*map(str, MEANT), *UNCLEAR, "1_000", "é\nτ", "a: b", "-"], ids=repr)
def test_a_text_that_is_written_is_read_again_here_and_elsewhere(text: str) -> None:
    written = dump_yaml({"name": text})
    assert parse_yaml(written, "here") == yaml.safe_load(written) == {"name": text}


def test_every_file_and_option_is_read_alike(tmp_path: Path) -> None:
    """Settings, best.yaml and plans; spaces; rigs; --set."""
    path = tmp_path / "file.yaml"

    def refused(text: str, read: object) -> None:
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            read(path)  # type: ignore[operator]
        assert str(caught.value) == f"{path}: line 2: '0256' is octal to some and decimal to others; write 256"

    refused("epochs: 1\nqueue_size: 0256\n", read_settings)
    refused("method: tpe\nbudget: {trials: 0256}\n", read_space)
    refused("name: rig\njoints: [0256]\n", read_layout)
    with pytest.raises(UsageError, match=r"^--set queue_size=0256: '0256' is octal"):
        parse_overrides(["queue_size=0256"])
    path.write_text("learning_rate: 1e-3\nqueue_size: 1_000\n")
    assert make_settings("quick", ("file", read_settings(path))).queue_size == 1000


def test_words_of_a_rig_are_words(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(
        "name: 2024-01-01\njoints: [on, off, no]\nparents: {off: on, no: on}\n"
        "landmarks: {base: on, centre: off, left_shoulder: no, right_shoulder: no}\n"
    )
    layout = read_layout(path)
    assert (layout.name, layout.joints) == ("2024-01-01", ("on", "off", "no"))


def test_a_length_of_time_is_not_in_sixtieths(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "method: tpe\nmetric: {name: loss/total, goal: minimize}\n"
        "parameters: {learning_rate: {min: 1e-4, max: 1e-2}}\nbudget: {trials: 4, time: 1:30}\n"
    )
    with pytest.raises(UsageError, match="'1:30' is not a duration; write 5m"):
        read_space(path)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: é\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8") as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
