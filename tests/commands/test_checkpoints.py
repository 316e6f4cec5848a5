"""The commands on checkpoints, as they are typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError
from tests.typed import refused

REPOSITORY = Path(__file__).parents[2]


def typed(cwd, *words):
    """What is printed."""
    done = subprocess.run(
        [sys.executable, "-m", "cmd_tune", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_import_and_export_as_typed(golden, tmp_path, monkeypatch):
    output = typed(tmp_path, "import", golden / "official_checkpoint.pth.tar", "--out", "ours.pt")
    assert output.startswith("ours.pt: epoch ")
    assert "modalities joint,motion,bone, hidden_size 16, layers" in output
    assert output.endswith("; pretrained on unknown clips\n")
    monkeypatch.chdir(tmp_path)
    error = refused("import", golden / "official_checkpoint.pth.tar", "--out", "x.pt", "--protocol", "xsub")
    assert error.lines == ["--protocol xsub: goes with --data alone; name the store, too"]
    output = typed(tmp_path, "export", "ours.pt", "--out", "theirs.pth.tar")
    assert output == "theirs.pth.tar: encoders of joint, motion, bone, in the authors' layout\n"
    assert len(refused("export", "theirs.pth.tar", "--out", "x.pth.tar", kind=CmdTuneError).lines) == 1
