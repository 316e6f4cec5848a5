"""The list of searches, as a person sees it at 80 columns, and as JSON."""

import io
import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.run_folder import lock_folder
from cmd_tune.search.kept_search import kept_searches
from cmd_tune.search.search_list import SearchList, show_searches
from cmd_tune.search.study.failure_tags import FailureTag
from tests.search.played import confirm, give_test_scores, new_search, play, study_of

NOW = datetime(2026, 11, 28, 21, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory, tiny_store):
    """Four searches: one confirmed and finished, one running, one that failed, one damaged."""
    runs = tmp_path_factory.mktemp("list") / "runs"
    study = study_of(new_search(runs, "temps-20261122-201400", tiny_store, confirm={"top": 1, "seeds": 2}))
    first, second, *_ = play(study, [50.0, 70.0, 60.0, 40.0])
    confirm(study, first, {1: 50.0, 2: 52.0})
    confirm(study, second, {1: 66.0, 2: 67.0})
    give_test_scores(study)
    play(study_of(new_search(runs, "going", tiny_store)), [50.0, None])
    play(study_of(new_search(runs, "hopeless", tiny_store)), [FailureTag.VALUES] * 4)
    shutil.copytree(runs / "hopeless", runs / "broken")
    (runs / "broken" / "study.db").write_bytes(b"no study" * 200)
    for name, started in (("going", "28T20:14"), ("temps-20261122-201400", "22T20:14"), ("hopeless", "02T01:00")):
        (runs / name / "environment.yaml").write_text(f"- started: '2026-11-{started}:00+01:00'\n")
    (runs / "broken" / "environment.yaml").write_text("- started: '2025-11-02T01:00:00+01:00'\n")
    (runs / "temps-20261122-201400" / "clock.json").write_text('{"seconds": 5425.0}')
    return runs


@pytest.fixture
def runs(kept, tmp_path):
    return Path(shutil.copytree(kept, tmp_path / "runs"))


def lines_of(*shown, width=80):
    file = io.StringIO()
    console = Console(file=file, width=width)
    for each in shown:
        console.print(each)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def central_europe(monkeypatch):
    """Times are shown as this machine has them."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    __import__("time").tzset()
    yield
    monkeypatch.undo()
    __import__("time").tzset()


def test_a_line_for_each_newest_first_and_what_all_share_said_once(runs):
    with lock_folder(runs / "going"):
        found = list(kept_searches(runs))
    assert lines_of(SearchList(found, NOW)) == [
        "metric val/knn/fused, data synthetic xview",
        "name                  state    trials   best started  took",
        "going                 running     1/4  50.00 20:14       –",
        "temps-20261122-201400 finished    4/4 66.50* 22 Nov  1h30m",
        "hopeless              failed      4/4      – 2 Nov       –",
        "broken                damaged       –      – –           –",
    ]


@pytest.mark.parametrize(
    ("width", "heads"),
    [(100, "name state trials best metric data started took"), (78, "name state trials best metric data")],
)
def test_a_narrow_screen_does_without_times(runs, tiny_store, width, heads):
    study = study_of(new_search(runs, "loss", tiny_store, metric={"name": "loss/total", "goal": "minimize"}))
    play(study, [3.0, 2.0])
    found = [(folder, search) for folder, search in kept_searches(runs) if not isinstance(search, CmdTuneError)]
    for _, search in found[:1]:
        object.__setattr__(search.plan, "dataset", "nw-ucla")
    head, *rows = lines_of(SearchList(found, NOW), width=width)
    assert head.split() == heads.split()
    assert len(rows) == 4
    assert all(len(line) <= width for line in rows)
    assert rows[0].split()[:6] == ["loss", "interrupted", "2/4", "2.000", "loss/total", "nw-ucla"]


def test_the_notes_say_what_a_star_is_and_what_is_damaged(runs):
    file = io.StringIO()
    show_searches(runs, Console(file=file, width=80))
    *_, star, damaged = file.getvalue().splitlines()
    assert star == "* the mean over fresh seeds"
    assert damaged.startswith(f"{runs / 'broken' / 'study.db'}: is damaged (file is not a database); ")


def test_as_json_it_has_numbers_and_times(runs, capsys):
    show_searches(runs, Console(), as_json=True)
    by_name = {search["name"]: search for search in json.loads(capsys.readouterr().out)}
    assert list(by_name) == ["going", "temps-20261122-201400", "hopeless", "broken"]
    best = by_name["temps-20261122-201400"]
    assert best["best"] == {
        "trial": 1,
        "score": 66.5,
        "fresh_seeds": 2,
        "interval": pytest.approx([60.15, 72.85], abs=0.01),
    }
    assert (best["seconds"], best["started"]) == (5425.0, "2026-11-22T20:14:00+01:00")
    assert best["trials"] == {"ended": 4, "failed": 0, "of": 4}
    assert (best["method"], best["metric"], best["goal"]) == ("random", "val/knn/fused", "maximize")
    assert (by_name["hopeless"]["best"], by_name["hopeless"]["trials"]["failed"]) == (None, 4)
    assert set(by_name["broken"]) == {"name", "folder", "state", "error"}


def test_an_empty_storage_says_how_to_begin(tmp_path, capsys):
    file = io.StringIO()
    show_searches(tmp_path / "runs", Console(file=file, width=200))
    said = f"{tmp_path / 'runs'}: holds no searches; begin one with: python run_search.py --space temps.yaml\n"
    assert file.getvalue() == said
    show_searches(tmp_path / "runs", Console(), as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_those_at_the_uri_alone_are_named(runs, tmp_path, capsys):
    file = io.StringIO()
    show_searches(tmp_path / "none", Console(file=file, width=200), elsewhere=["far", "away"])
    assert file.getvalue() == "not on this machine: far, away; resume NAME brings one here\n"
    show_searches(tmp_path / "none", Console(), as_json=True, elsewhere=["far"])
    assert json.loads(capsys.readouterr().out) == [{"name": "far", "state": "not on this machine"}]
