"""Folders of runs: made by one process each, found again by name or path."""

import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs.run_folder import earlier_run, find_run, lock_folder, new_folder, resume_line


def test_runs_that_start_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    """As those of a Slurm array do."""
    ready = Barrier(8)

    def make(_: int) -> Path:
        ready.wait()
        return new_folder(tmp_path / "new" / "runs", None, "temps")

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(make, range(8)))
    assert len(set(folders)) == 8
    assert all(folder.is_dir() and folder.name.startswith("temps-") for folder in folders)


def test_a_name_that_was_given_is_refused_where_it_is_taken(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, "mine", "temps")
    with pytest.raises(UsageError) as caught:
        new_folder(tmp_path, "mine", "temps")
    assert str(caught.value) == f"--name mine: {folder} exists; take another name, or go on with --resume mine"


@pytest.mark.parametrize("typed", ["it", "runs/it", "runs/it/", "./runs/../runs/it", "{absolute}", "~/runs/it"])
def test_a_run_is_found_by_name_and_by_path(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = new_folder(Path("runs"), "it", "temps")
    (folder / "search.yaml").touch()
    found = earlier_run(Path("runs"), typed.format(absolute=folder), "search.yaml", kept={})
    assert found == tmp_path / "runs" / "it" / "search.yaml"


def test_a_run_of_another_storage_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new_folder(tmp_path / "elsewhere", "it", "temps")
    (folder / "search.yaml").touch()
    assert earlier_run(tmp_path / "runs", str(folder), "search.yaml", kept={}).parent == folder
    monkeypatch.chdir(folder)
    assert earlier_run(tmp_path / "runs", ".", "search.yaml", kept={}).parent == folder
    with pytest.raises(UsageError, match="has no such run"):
        earlier_run(tmp_path / "runs", "it", "search.yaml", kept={})


def test_a_run_that_is_running_is_not_resumed(tmp_path: Path) -> None:
    """Its plan would be written over before that is seen."""
    folder = new_folder(tmp_path, "it", "temps")
    (folder / "search.yaml").touch()
    with lock_folder(folder), pytest.raises(CmdTuneError, match="is in use by another process"):
        earlier_run(tmp_path, "it", "search.yaml", kept={})
    earlier_run(tmp_path, "it", "search.yaml", kept={})


def test_a_run_of_another_command_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "runs" / "it").mkdir(parents=True)
    (tmp_path / "runs" / "it" / "pretrain.yaml").write_text("")
    for typed in ("it", str(tmp_path / "runs" / "it")):
        with pytest.raises(UsageError) as caught:
            earlier_run(tmp_path / "runs", typed, "search.yaml", kept={})
        said = f"--resume {typed}: is a run of pretrain; resume it with: pretrain --resume {typed}"
        assert str(caught.value) == said


def test_the_resume_line_has_all_that_the_folder_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = f"{shlex.quote(sys.executable)} -m cmd_tune search --resume it"
    assert resume_line("search", tmp_path / "runs" / "it") == command
    assert resume_line("search", tmp_path / "runs" / "it", "10.0.0.1:6379") == f"{command} --address 10.0.0.1:6379"
    assert resume_line("search", tmp_path / "a b" / "it", "auto") == (
        f"{command} --storage '{tmp_path}/a b' --address auto"
    )


def test_a_run_of_any_command_is_found_with_its_command(tmp_path: Path) -> None:
    for command in ("search", "pretrain", "evaluate"):
        (tmp_path / f"my-{command}").mkdir()
        (tmp_path / f"my-{command}" / f"{command}.yaml").touch()
        assert find_run(tmp_path, f"my-{command}") == (tmp_path / f"my-{command}", command)
    assert find_run(Path("nowhere"), str(tmp_path / "my-search")) == (tmp_path / "my-search", "search")
    with pytest.raises(UsageError) as caught:
        find_run(tmp_path, "my-serch")
    assert str(caught.value) == f"my-serch: {tmp_path} has no such run; did you mean 'my-search'?"
    with pytest.raises(UsageError, match="has no such run; there are none"):
        find_run(tmp_path / "none", "it")
