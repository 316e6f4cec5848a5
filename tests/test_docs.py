"""README and the pages in docs/: every command parses, every YAML and Python block works, and nothing is left out."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit
from zipfile import ZipFile

import click
import pytest
import typer
import yaml

from cmd_tune.cli import app
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS, read_layout
from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.readers import READERS
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.splits import PROTOCOLS, split_store
from cmd_tune.data.store import Store
from cmd_tune.data.views.modalities import MODALITIES
from cmd_tune.errors import CmdTuneError, Interrupted, UsageError
from cmd_tune.evaluate.tasks import TASKS
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import new_plan
from cmd_tune.search.request import check_request, read_space
from cmd_tune.settings import PRESETS, Settings, make_settings
from tests.conftest import write_tiny_store

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
EXPERIMENTS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/experiments").glob("*.md"))}
TEXTS = {"README.md": (ROOT / "README.md").read_text(encoding="utf-8"), **PAGES}
COMMANDS = typer.main.get_command(app)
# What a part of a space file is laid over, so that it is a whole one.
WHOLE: dict[str, Any] = {
    "method": "tpe",
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {"key_momentum": {"min": 0.9, "max": 0.99}},
}
TABLE: dict[str, Any] = {
    "method": "cells",
    "metric": WHOLE["metric"],
    "cells": [{"student_temperature": 0.1}, {"student_temperature": 0.5}],
}


def blocks(language: str, texts: dict[str, str] = TEXTS) -> list[Any]:
    """The code blocks of a language, each named by its page and its place there."""
    found = []
    for name, text in texts.items():
        for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE), 1):
            found.append(pytest.param(block, id=f"{name}-{number}"))
    return found


# Commands.


def commands(block: str) -> Iterator[list[str]]:
    """Each command of a block as words, without comments; `a && b` are two."""
    for line in block.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


def parser(words: list[str]) -> tuple[click.Command | None, list[str]]:
    """What reads a command of the pages, and the rest of its words; None for what is not ours to check."""
    name = words[0].removeprefix(".venv/bin/")
    assert isinstance(COMMANDS, typer.core.TyperGroup)
    match [name.rstrip("3"), *words[1:]]:
        case ["python", "run_search.py", *rest]:
            return COMMANDS.commands["search"], rest
        case ["python", "-m", "cmd_tune", command, *rest] if command in COMMANDS.commands:
            return COMMANDS.commands[command], rest
        case ["python", "-m", "benchmarks", "gpu", *rest]:
            from benchmarks.gpu import measure

            return _alone(measure), rest
        case ["python", "-m", "benchmarks", *rest]:
            from benchmarks.table import main

            return _alone(main), rest
        case ["ray", command, *rest]:
            from ray.scripts.scripts import cli

            return cli.commands[command], rest
        case ["mlflow", command, *rest]:
            from mlflow.cli import cli

            return cli.commands[command], rest
        case ["cluster/search.sh", _, _, *rest]:  # STORAGE NAME OPTIONS
            return COMMANDS.commands["search"], rest
        case ["python", "-m", "venv" | "pytest" | "mkdocs", *_] | ["pip" | "." | "bash" | "pre-commit", *_]:
            return None, []
        case ["docker" | "kubectl" | "optuna-dashboard" | "sbatch" | "scp" | "ssh", *_]:
            return None, []
    raise AssertionError(f"{shlex.join(words)}: this test does not know the command")


def _alone(function: Any) -> click.Command:
    alone = typer.Typer(add_completion=False)
    alone.command()(function)
    return typer.main.get_command(alone)


@pytest.mark.filterwarnings("ignore")  # of libraries whose commands are loaded
@pytest.mark.parametrize("block", blocks("bash"))
def test_commands_are_read(block: str) -> None:
    for words in commands(block):
        command, rest = parser(words)
        if command:
            command.make_context(words[0], rest)  # raises for an option that it does not have, or for a wrong value


def test_every_option_is_in_some_page() -> None:
    assert isinstance(COMMANDS, typer.core.TyperGroup)
    options = {
        option
        for command in COMMANDS.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    text = "\n".join(PAGES.values())
    assert {option for option in options if not re.search(rf"{option}\b(?!-)", text)} == set()
    assert {name for name in COMMANDS.commands if f"`{name}`" not in PAGES["running.md"]} == set()


def test_exit_codes_are_those_of_the_errors() -> None:
    table = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGES["running.md"], re.MULTILINE))
    assert list(map(int, table)) == [0, CmdTuneError.exit_code, UsageError.exit_code, Interrupted.exit_code]


def test_ci_finds_one_command_in_the_readme() -> None:
    assert len(re.findall(r"^python3 -m venv .*pytest.*$", TEXTS["README.md"], re.MULTILINE)) == 1
    assert len(re.findall(r"run_search\.py --space temps\.yaml$", TEXTS["README.md"], re.MULTILINE)) == 1


# Blocks of YAML and Python.


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Of as many clips as the batches on the pages have."""
    return write_tiny_store(tmp_path_factory.mktemp("docs") / "tiny.arrow", subjects=8, classes=24)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_blocks_are_read(block: str, tmp_path: Path, store: Store) -> None:
    path = tmp_path / "block.yaml"
    content = yaml.safe_load(block)
    if "landmarks" in content:
        path.write_text(block, encoding="utf-8")
        assert read_layout(path).joints == tuple(content["joints"])
        return
    whole = content if content.get("method") == "cells" else {**WHOLE, **content}
    if "metrics" in content:
        del whole["metric"]
    if content.get("method") == "grid":
        whole["parameters"] = {"key_momentum": {"values": [0.9, 0.99]}}
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    new_plan(
        check_request(
            str(path),
            storage=tmp_path / "runs",
            data=store.path,
            **dict.fromkeys(("name", "protocol", "preset", "trials", "tracking_uri")),
            overrides=[],
            resources=ResourceRequest(),
        )
    )
    if content.keys() >= {"method", "parameters"}:  # a whole file is read as it stands in the page, too
        path.write_text(block, encoding="utf-8")
        assert list(read_space(path).parameters) == list(content["parameters"])


def test_frames_of_mediapipe_as_the_page_makes_them_are_read(tmp_path: Path) -> None:
    """Of two frames the second has nobody."""
    landmarks = [SimpleNamespace(x=0.25, y=n / 33, z=-1.0, visibility=0.9, presence=0.8, name=None) for n in range(33)]
    code, *_ = blocks("python", {"your-data.md": PAGES["your-data.md"]})
    names: dict[str, Any] = {}
    exec(code.values[0], names)  # noqa: S102
    results = [SimpleNamespace(pose_landmarks=found, pose_world_landmarks=found) for found in ([landmarks], [])]
    (tmp_path / "wave.json").write_text(json.dumps([names["frame"](result) for result in results]))
    (tmp_path / "index.csv").write_text("file,label\nwave.json,0\n")
    for kind, coordinates in (("mediapipe", 2), ("mediapipe-world", 3)):
        source = READERS[kind](tmp_path, ReadOptions())
        ((clip,),) = (source.read(batch) for batch in source.batches)
        assert clip.joints_TVCP.shape == (2, 33, coordinates, 1)
        assert clip.joints_TVCP[0, 11, :2, 0].tolist() == pytest.approx([0.25, 1 / 3])
        assert not clip.joints_TVCP[1].any()


def test_the_recordings_of_the_page_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = {"your-data.md": PAGES["your-data.md"]}
    (rig, *_), (_, folder, recordings) = blocks("yaml", page), blocks("python", page)
    Path("rig.yaml").write_text(rig.values[0], encoding="utf-8")
    exec(recordings.values[0], {})  # noqa: S102
    options = ReadOptions(layout=read_layout(Path("rig.yaml")))
    store = ingest("generic", Path("recordings.npz"), Path("mine.arrow"), options=options).store
    assert store.length_N.tolist() == [30, 45]
    assert list(store.part_N) == ["given"]
    exec(folder.values[0], {})  # noqa: S102
    store = ingest("generic", Path("recordings"), Path("mine.arrow"), options=options, strict=True).store
    assert store.names[:2] == ["000", "001"]
    assert (len(store), set(store.length_N.tolist()), store.frame_shape()) == (20, {40}, (5, 3, 1))
    _, split = split_store(store)
    assert len(split.pretrain_N) == 12


def test_the_example_in_python_ends_with_test_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python", {"page": PAGES["api.md"]})
    exec(block.values[0], {})  # noqa: S102
    *epochs, scores = capsys.readouterr().out.splitlines()
    assert len(epochs) == 2
    assert "'test/knn/fused': " in scores


# Nothing is left out.


def values_of(field: Any) -> str:
    """What a setting may be, as the page has it."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    if get_origin(field.annotation) is tuple:
        return "list"
    bounds = {type(bound).__name__: bound for bound in field.metadata}
    least = f"above {bounds['Gt'].gt}" if "Gt" in bounds else f"{bounds['Ge'].ge}"
    if "Le" in bounds:
        return f"{least}{', ' if 'Gt' in bounds else ' '}to {bounds['Le'].le}"
    return least if "Gt" in bounds else f"{least} or more"


def test_settings_are_those_of_the_page() -> None:
    def format_value(value: Any) -> str:
        return ", ".join(value) if isinstance(value, tuple) else str(value)

    paper, quick = make_settings("paper"), make_settings("quick")
    expected = {
        name: (format_value(getattr(paper, name)), format_value(getattr(quick, name)), values_of(field))
        for name, field in Settings.model_fields.items()
    }
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| \S", PAGES["settings.md"], re.MULTILINE)
    assert {name: tuple(row) for name, *row in rows} == expected


def known(content: dict[str, Any], path: Path) -> set[str]:
    """What a space file may have in the place of `zzzzzzzz`, by the error about it."""
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UsageError, match=r"zzzzzzzz.* known: ") as error:
        read_space(path)
    (line,) = (line for line in error.value.lines if "zzzzzzzz" in line)
    return set(line.partition(" known: ")[2].split(", "))


ODD = {"zzzzzzzz": 1}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({**WHOLE, **ODD}, id="keys"),
        pytest.param({**WHOLE, "method": "zzzzzzzz"}, id="methods"),
        pytest.param({**WHOLE, "metric": {**WHOLE["metric"], **ODD}}, id="metric"),
        pytest.param({**WHOLE, "metric": {**WHOLE["metric"], "goal": "zzzzzzzz"}}, id="goals"),
        pytest.param({**WHOLE, "parameters": {"layers": {"min": 1, "max": 2, **ODD}}}, id="parameter"),
        pytest.param({**WHOLE, "parameters": {"layers": {"distribution": "zzzzzzzz"}}}, id="distributions"),
        pytest.param({**WHOLE, "early_terminate": {"type": "asha", **ODD}}, id="early_terminate"),
        pytest.param({**WHOLE, "early_terminate": {"type": "zzzzzzzz"}}, id="early_terminate types"),
        pytest.param({**WHOLE, "budget": {"trials": 1, **ODD}}, id="budget"),
        pytest.param({**WHOLE, "preset": "zzzzzzzz"}, id="presets"),
        pytest.param({**TABLE, "reported_on": ODD}, id="reported_on"),
        pytest.param({**TABLE, "claims": [{"says": "so", **ODD}]}, id="claim"),
        pytest.param({**TABLE, "claims": [{"says": "so", "metrics": ["x"], "decreasing": ODD}]}, id="decreasing"),
        pytest.param(
            {**TABLE, "claims": [{"says": "so", "metrics": ["x"], "margin": 1, "no_worse": ODD}]}, id="no_worse"
        ),
    ],
)
def test_what_a_space_file_may_have_is_in_the_pages(content: dict[str, Any], tmp_path: Path) -> None:
    text = PAGES["spaces.md"] + PAGES["methods-and-tables.md"]
    assert {name for name in known(content, tmp_path / "odd.yaml") if not in_code(name, text)} == set()


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("your-data.md", READERS),
        ("your-data.md", LAYOUTS),
        ("your-data.md", NORMALIZATIONS),
        ("your-data.md", {protocol for protocols in PROTOCOLS.values() for protocol in protocols}),
        ("methods-and-tables.md", MODALITIES),
        ("scores.md", TASKS),
        ("gpu.md", PRESETS),
        ("spaces.md", [path.name for path in (ROOT / "search_spaces").glob("*.yaml")]),
    ],
)
def test_every_name_is_in_its_page(page: str, names: Any) -> None:
    assert {name for name in names if not in_code(name, PAGES[page])} == set()


def in_code(name: str, text: str) -> bool:
    """Whether a text has a name in `code`."""
    return re.search(rf"`[^`\n]*(?<![\w-]){re.escape(name)}(?![\w-])[^`\n]*`", text) is not None


def test_files_of_kept_runs_are_in_the_page() -> None:
    with ZipFile(ROOT / "tests/golden/runs-0.1.0.zip") as archive:
        paths = [PurePosixPath(name).parts[1:] for name in archive.namelist() if name.startswith("runs/")]
    files = {path[1] for path in paths if len(path) > 1 and path[0] in ("search", "pretrain", "evaluate")}
    files |= {path[3] for path in paths if path[:2] == ("search", "trials") and len(path) > 3}
    assert "history.jsonl" in files
    assert {name for name in files if not in_code(name, PAGES["running.md"])} == set()


# Links.


@pytest.mark.parametrize(
    "page",
    ["README.md", "benchmarks/RESULTS.md", *(f"docs/{name}" for name in PAGES)]
    + [f"docs/experiments/{name}" for name in EXPERIMENTS],
)
def test_links_lead_somewhere(page: str) -> None:
    path = (ROOT / page).resolve()
    folder = path.parent
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)]*)\)", prose):
        assert link == link.strip()
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            assert parts.scheme == "https"
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc)
        elif parts.path:
            assert (folder / parts.path).is_file()


def test_the_tests_of_the_faults_exist() -> None:
    """Each row of the table names one that shows it."""
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    rows = [line for line in text.partition("## Faults")[2].partition("\n## ")[0].splitlines() if line[:2] == "| "][1:]
    assert len(rows) > 20
    for row in rows:
        file, name = re.findall(r"\| `([\w/]+\.py)::(\w+)` \|$", row)[0]
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), row


@pytest.mark.parametrize(("page", "file"), [("changelog.md", "CHANGELOG.md"), ("contributing.md", "CONTRIBUTING.md")])
def test_pages_of_the_root_are_links_to_its_files(page: str, file: str) -> None:
    assert (ROOT / "docs" / page).is_symlink()
    assert (ROOT / "docs" / page).resolve() == ROOT / file


def test_every_experiment_is_dated_and_in_the_list_and_the_menu() -> None:
    pages = [name for name in EXPERIMENTS if name != "index.md"]
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\d{4}-\d\d-\d\d) \| \[[^\]]*\]\(([^)]*)\) \| \S", EXPERIMENTS["index.md"], re.MULTILINE)
    assert [name for _, name in listed] == pages
    assert all(name.startswith(date) for date, name in listed)
    assert [name for name in pages if f": experiments/{name}\n" not in menu] == []
