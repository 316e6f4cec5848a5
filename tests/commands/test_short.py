"""Short forms: a plan has the options of a search's start, and a resume goes to the command that made the run."""

import click
import pytest
import typer
from typer.testing import CliRunner

from cmd_tune.cli import app
from cmd_tune.errors import UsageError
from tests.search.played import new_search

COMMANDS = typer.main.get_command(app).commands


def test_a_plan_has_the_options_of_a_search_that_begins():
    def options(name):
        return {parameter.name: (parameter.opts, parameter.default) for parameter in COMMANDS[name].params}

    of_search = options("search")
    assert of_search.keys() - options("plan").keys() == {"resume", "retry_failed", "dry_run", "plan"}
    assert all(of_search[name] == option for name, option in options("plan").items())


def test_a_plan_is_that_of_a_search(tmp_path, tiny_store, monkeypatch):
    """What it measures is tested with the search's own --plan."""
    asked = []
    monkeypatch.setattr(
        "cmd_tune.search.preview.show_preview", lambda request, *_, probed: asked.append((request, probed))
    )
    words = ["--space", "temps.yaml", "--data", str(tiny_store.path), "--trials", "3", "--set", "batch_size=8"]
    done = CliRunner().invoke(app, ["plan", *words, "--storage", str(tmp_path / "runs")], catch_exceptions=False)
    assert done.exit_code == 0
    ((request, probed),) = asked
    assert (request.trials, request.settings.batch_size, probed) == (3, 8, True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("place", ["name", "path"])
def test_a_resume_goes_with_its_options_to_the_command_that_made_the_run(tmp_path, tiny_store, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    new_search(tmp_path / "runs", "it", tiny_store)
    name = "it" if place == "name" else str(tmp_path / "runs" / "it")
    with pytest.raises(UsageError, match=r"^--preset: a resumed run keeps its own"):  # as `search --resume` says
        CliRunner().invoke(app, ["resume", name, "--preset", "paper"], catch_exceptions=False)
    for command in ("pretrain", "evaluate"):
        (tmp_path / "runs" / command).mkdir()
        (tmp_path / "runs" / command / f"{command}.yaml").write_text("tracking_uri: []\n")
        with pytest.raises(UsageError, match=rf"{command}.yaml: "):
            CliRunner().invoke(app, ["resume", command], catch_exceptions=False)


def test_an_option_that_the_command_does_not_have_is_refused(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "pretrain.yaml").touch()
    done = CliRunner().invoke(app, ["resume", "p", "--storage", str(tmp_path), "--trials", "3"])
    assert done.exit_code == 2
    assert "No such option: --trials" in click.unstyle(done.output)


def test_a_name_of_no_run_is_told_with_the_nearest(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pretrain.yaml").touch()
    with pytest.raises(UsageError, match=r"^min: .* has no such run; did you mean 'mine'\?$"):
        CliRunner().invoke(app, ["resume", "min", "--storage", str(tmp_path)], catch_exceptions=False)
