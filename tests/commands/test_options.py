"""Options that several commands share: paths as they are typed."""

import subprocess
import sys
from pathlib import Path

import pytest

from cmd_tune.cli import app
from cmd_tune.commands.options import from_home
from cmd_tune.data.store import Store


def test_the_home_folder_is_meant_by_a_tilde(tiny_store: Store, tmp_path: Path) -> None:
    (tmp_path / "tiny.arrow").symlink_to(tiny_store.path)
    command = [sys.executable, "-m", "cmd_tune", "inspect", "~/tiny.arrow", "--out=~/tiny.png"]
    done = subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny.png").exists()


def test_every_path_of_every_command_is_read_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given: dict[str, object] = {}
    from_home(lambda **options: given.update(options))(a=Path("~/x"), b=Path("x/~"), c="~")
    assert given == {"a": Path("/home/me/x"), "b": Path("x/~"), "c": "~"}
    assert all(hasattr(command.callback, "__wrapped__") for command in app.registered_commands if command.name)
