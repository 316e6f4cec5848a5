"""Which file may import what: floors from the bottom up, and each of the large libraries in its own place."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cmd_tune"
# Each floor imports from itself and those before it. What lies beside the floors is for all of them.
FLOORS = ("compute", "data", "model", "train", "evaluate", "tracking", "runs", "search", "commands", "cli")
# The libraries of the search floor, and the only files that know them.
PLACES = {
    "ray": {
        "search/execution/nodes.py",
        "search/execution/ray_output.py",
        "search/execution/ray_session.py",
        "search/execution/ray_tune.py",
        "search/execution/trial_process.py",
        "search/tuner.py",
    },
    "optuna": {"search/spaces/parameter.py", "search/spaces/space.py", "search/study/study.py"},
    "mlflow": {"tracking/mlflow/writer.py"},
}
# The rooms of the search floor: of its other rooms, each imports from these alone, and from no file that stands above.
ROOMS: dict[str, set[str]] = {"spaces": set(), "study": {"spaces"}, "execution": set()}
# Files outside the floors that read settings or data: config checks settings against registries.
BESIDE = {
    "config": {"data", "model"},
    "formatting": set(),
    "plain_yaml": set(),
    "sqlite_url": set(),
    "progress": set(),
    "figures": set(),
    "files": set(),
    "errors": set(),
}


def imports(path: Path) -> Iterator[str]:
    """The full names of what a file imports, also inside functions; not what only a type checker reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for part in branch.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """cmd_tune.data.store → data; cmd_tune.files → files."""
    return name.split(".")[1] if name.count(".") else ""


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_no_file_imports_from_a_floor_above(file: str) -> None:
    of_ours = {room(name) for name in imports(PACKAGE / file) if name.startswith("cmd_tune.")} & set(FLOORS)
    floor = file.split("/")[0].removesuffix(".py")
    allowed = FLOORS[: FLOORS.index(floor) + 1] if floor in FLOORS else BESIDE.get(floor, FLOORS)
    assert of_ours <= set(allowed)


@pytest.mark.parametrize("room_of_search", ROOMS)
def test_no_room_of_the_search_imports_from_one_above(room_of_search: str) -> None:
    found = {
        name.split(".")[2]
        for path in (PACKAGE / "search" / room_of_search).rglob("*.py")
        for name in imports(path)
        if name.startswith("cmd_tune.search.")
    }
    assert found <= {room_of_search, *ROOMS[room_of_search]}


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_known_in_its_place_alone(library: str) -> None:
    found = {file for file in FILES if any(name.split(".")[0] == library for name in imports(PACKAGE / file))}
    assert found == PLACES[library]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("cmd_tune.data.store, cmd_tune.train.loop, cmd_tune.evaluate.tasks", "ray optuna mlflow"),
        ("cmd_tune.runs.single_run, cmd_tune.runs.evaluation_run", "ray optuna mlflow"),
        ("cmd_tune.data.ingest.parallel_reading", "torch"),  # its processes start without it
        ("cmd_tune.cli", "torch ray optuna mlflow"),  # --help answers at once
    ],
)
def test_what_starts_without_a_library(modules: str, absent: str) -> None:
    code = f"import sys, {modules}; print(*(set('{absent}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
