"""Which file may import what: floors from the bottom up, and each of the large libraries in its own place."""

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cmd_tune"
# Each floor imports from itself and those before it. What lies beside the floors is for all of them.
FLOORS = ("compute", "data", "model", "train", "evaluate", "tracking", "runs", "search", "commands", "cli")
# The large libraries, and the only files that know them.
PLACES = {
    "ray": ("search/execution/ray_*.py", "search/execution/nodes.py"),
    "optuna": (
        "search/study/methods/*.py",
        "search/study/early_stopping/*.py",
        "search/study/optuna_trials.py",
        "search/study/optuna_values.py",
        "search/study/sampler_view.py",
        "search/study/study.py",
        "search/study/suggestions.py",
    ),
    "mlflow": ("tracking/mlflow/*.py",),
}
# Of the search floor: what each room or file imports from there, beside itself. The others connect these.
ROOMS: dict[str, set[str]] = {
    "spaces": set(),
    "study": {"spaces"},
    "execution": set(),
    "report": {"spaces", "study"},
    "space_checks": {"spaces", "study"},
    "request": {"spaces", "study", "execution", "space_checks"},
    "plan": {"spaces", "study", "execution", "space_checks", "request"},
    "warm_start": {"spaces", "study", "request", "plan"},
    "fusing": {"spaces", "execution", "request"},
    "measured_precision": {"request"},
    "beginning": {"execution", "request", "plan", "warm_start", "fusing", "measured_precision"},
    "run_texts": {"spaces", "study"},
    "listeners": {"study", "report"},
    "tracker_listener": {"study", "execution", "plan", "report", "run_texts", "confirmations", "listeners"},
    "winner_model": {"study", "plan", "run_texts"},
    "controller": {"study", "execution", "listeners"},
    "finalists": {"study", "execution", "listeners"},
    "confirmations": {"spaces", "study", "plan"},
    "ablations": {"spaces", "study", "plan", "report", "confirmations"},
    "refits": {"spaces", "study", "plan"},
    "repeats": {"study", "execution", "listeners"},
}
# Of a room: what lies below it, but is not its business.
STRANGERS = {"search/report": {"cmd_tune.tracking"}, "search/study": {"cmd_tune.tracking"}}
# What imports from fewer floors than those before it, or lies beside them: settings know the registries.
FEWER: dict[str, set[str]] = {
    "tracking": {"tracking"},
    "settings": {"data", "model"},
    "formatting": set(),
    "mistakes": set(),
    "yaml_files": set(),
    "sqlite_url": set(),
    "redact": set(),
    "progress": set(),
    "figures": set(),
    "files": set(),
    "locks": set(),
    "remote_files": set(),
    "errors": set(),
    "full_disk": set(),
    "interrupts": set(),
    "out_of_memory": set(),
}


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The full names of what a file imports, also inside functions; not what only a type checker reads."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
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
    before = FLOORS[: FLOORS.index(floor) + 1] if floor in FLOORS else FLOORS
    assert of_ours <= FEWER.get(floor, set(before))


@pytest.mark.parametrize("part", ROOMS)
def test_no_part_of_the_search_imports_from_one_above(part: str) -> None:
    place = PACKAGE / "search" / part
    files = list(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    names = {name for path in files for name in imports(path) if name.startswith("cmd_tune.search.")}
    assert {name.split(".")[2] for name in names} <= {part, *ROOMS[part]}


@pytest.mark.parametrize("folder", STRANGERS)
def test_a_room_knows_nothing_of_its_strangers(folder: str) -> None:
    names = {name for path in (PACKAGE / folder).rglob("*.py") for name in imports(path)}
    assert [name for name in names if name.startswith(tuple(STRANGERS[folder]))] == []


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_known_in_its_place_alone(library: str) -> None:
    found = {file for file in FILES if any(name.split(".")[0] == library for name in imports(PACKAGE / file))}
    in_place = {pattern: set(fnmatch.filter(found, pattern)) for pattern in PLACES[library]}
    assert found == set().union(*in_place.values())
    assert all(in_place.values())


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("tracking/")])
def test_tracking_is_entered_by_its_door(file: str) -> None:
    inside = {path.stem for path in (PACKAGE / "tracking").iterdir()} - {"__init__"}
    beyond = {name.split(".")[2] for name in imports(PACKAGE / file) if name.startswith("cmd_tune.tracking.")}
    assert not beyond & inside


# What is imported one after the other, and what is not there afterwards.
STEPS = (
    ("cmd_tune", "torch ray optuna mlflow pandas numpy pydantic"),
    ("cmd_tune.cli", "torch ray optuna mlflow"),  # --help answers at once
    ("cmd_tune.data.ingest.parallel_reading", "torch"),  # its processes start without it
    ("cmd_tune.data.store, cmd_tune.train.loop, cmd_tune.evaluate.tasks", "ray optuna mlflow"),
    ("cmd_tune.search.spaces.space_file, cmd_tune.search.plan", "ray optuna mlflow"),
    ("cmd_tune.search.execution", "ray optuna mlflow"),
    ("cmd_tune.search.beginning", "ray optuna mlflow matplotlib"),  # Ray starts while the rest is loaded
    ("cmd_tune.runs.single_run, cmd_tune.runs.evaluation_run", "ray optuna mlflow"),
    ("cmd_tune.search.from_python", "ray mlflow pandas"),
    ("cmd_tune.search.search", "ray mlflow"),
)


def test_what_starts_without_a_library() -> None:
    """In one process, since most of the time goes to PyTorch."""
    lines = (f"import {names}; print(*(set('{absent}'.split()) & set(sys.modules)))" for names, absent in STEPS)
    code = "\n".join(("import sys", *lines))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert dict(zip(STEPS, done.stdout.splitlines(), strict=True)) == dict.fromkeys(STEPS, "")
