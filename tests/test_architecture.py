"""docs/architecture.md against the code: the rooms, the import rules, the paths that it names."""

import ast
import re
from pathlib import Path

from tests.test_imports import FLOORS, PACKAGE, PLACES, ROOMS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str, columns: int) -> list[tuple[str, ...]]:
    """The cells of all tables of so many columns, without their heads."""
    found = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [cells for line in found if len(cells := tuple(line.split(" | "))) == columns and cells[0].startswith("`")]


def listed(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_every_folder_is_a_row_in_the_words_of_its_docstring() -> None:
    """What it is: the first sentence. What it is not: the one that begins with "Not here:"."""
    expected = {}
    for path in PACKAGE.rglob("*/__init__.py"):
        text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
        sentences = [sentence.removesuffix(".") for sentence in re.split(r"(?<=\.) (?=[A-Z`])", text)]
        (what_not,) = (sentence for sentence in sentences if sentence.startswith("Not here: "))
        folder = path.parent.relative_to(PACKAGE).as_posix()
        expected[f"`{folder}/`"] = (sentences[0], what_not.removeprefix("Not here: "))
    assert {folder: cells for folder, *cells in map(list, rows(section("Rooms"), 3))} == {
        folder: list(cells) for folder, cells in expected.items()
    }


def test_the_picture_has_the_floors_from_the_top_down() -> None:
    (picture,) = re.findall(r"^```text\n(.*?)^```", section("What may import what"), re.DOTALL | re.MULTILINE)
    assert re.findall(r"^\w+", picture, re.MULTILINE) == list(reversed(FLOORS))
    parts = re.findall(r"\w+(?=\.py|/)", picture)
    assert sorted(parts) == sorted([*ROOMS, "search"])
    order = {part: picture.index(part) for part in ROOMS}
    assert all(order[below] > order[part] for part, allowed in ROOMS.items() for below in allowed)


def test_the_tables_have_the_import_rules() -> None:
    tables = rows(section("What may import what"), 2)
    names = {cells[0].strip("`"): listed(cells[1]) for cells in tables}
    assert names == {**ROOMS, **{library: set(patterns) for library, patterns in PLACES.items()}}


def test_every_path_is_there() -> None:
    paths = set(re.findall(r"`((?:[\w-]+/)+|(?:[\w.-]+/)*[\w-]+\.py)`", PAGE))
    assert "search/report/looks.py" in paths
    places = (ROOT, PACKAGE, PACKAGE / "search")
    assert {path for path in paths if not any((place / path).exists() for place in places)} == set()
