"""The commands for kept runs, as they are typed, on searches whose trials were played."""

import json

import pytest
from typer.testing import CliRunner

from cmd_tune.cli import app
from cmd_tune.errors import UsageError
from tests.search.played import give_test_scores, new_search, play, study_of


@pytest.fixture
def typed(monkeypatch):
    """Runs a command in this process; returns its exit code and what it printed. Errors are raised."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return run


@pytest.fixture(scope="module")
def storage(tmp_path_factory, tiny_store):
    """Two searches, one finished and one interrupted, that tests read."""
    runs = tmp_path_factory.mktemp("kept") / "runs"
    study = study_of(new_search(runs, "done", tiny_store))
    play(study, [50.0, 70.0, 60.0, 40.0])
    give_test_scores(study)
    play(study_of(new_search(runs, "half", tiny_store)), [50.0, None])
    return runs


def test_searches_lists_them(typed, storage):
    code, said = typed("searches", "--storage", storage)
    assert code == 0
    names = [line.split()[:3] for line in said.splitlines()[2:]]
    assert sorted(names) == [["done", "finished", "4/4"], ["half", "interrupted", "1/4"]]
    code, said = typed("searches", "--storage", storage, "--json")
    assert {search["name"] for search in json.loads(said)} == {"done", "half"}


def test_report_writes_it_anew(typed, storage):
    code, said = typed("report", "done", "--storage", storage)
    assert (code, "so far" in said) == (0, False)
    assert (storage / "done" / "best.yaml").read_text().startswith("# trial-001 of done: val/knn/fused 70.00\n")
    code, said = typed("report", storage / "half")
    assert (code, "1 of 4 trials have ended; this is what is known so far" in said) == (0, True)
    with pytest.raises(UsageError, match=r"^don: .* has no such run; did you mean 'done'\?$"):
        typed("report", "don", "--storage", storage)


def test_stop_refuses_what_is_not_running(typed, storage):
    with pytest.raises(UsageError, match=r"^done: is not running$"):
        typed("stop", "done", "--storage", storage)


def test_compare_shows_them_side_by_side(typed, storage):
    code, said = typed("compare", "done", "half", "--storage", storage)
    assert (code, said.splitlines()[0].split()) == (0, ["done", "half"])
    assert "half less done: -20.00, of which single runs cannot tell" in said
    with pytest.raises(UsageError, match=r"^done: name another search to compare it with$"):
        typed("compare", "done", "--storage", storage)
