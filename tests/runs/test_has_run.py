"""What launch files ask before they start a run."""

import sys

import pytest

from cmd_tune.runs.has_run import main


@pytest.fixture
def ask(monkeypatch, capsys):
    def ask(storage):
        monkeypatch.setattr(sys, "argv", ["has_run", str(storage), "it"])
        main()
        return capsys.readouterr().out

    return ask


def test_a_folder_has_the_runs_that_have_begun_in_it(ask, tmp_path):
    assert ask(tmp_path / "none") == "no\n"
    (tmp_path / "it").mkdir()
    assert ask(tmp_path) == "no\n"
    (tmp_path / "it" / "search.yaml").touch()
    assert ask(tmp_path) == ask(tmp_path.as_uri()) == "yes\n"


def test_what_is_no_storage_is_one_line(ask, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        ask("ftp://host/runs")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: --storage ftp://host/runs: ftp:// is no kind of storage")
