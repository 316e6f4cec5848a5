"""Searches read from their folders: states, progress, the best trial, and that nothing there changes."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest
from scipy import stats

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs.run_folder import lock_folder
from cmd_tune.search.kept_search import SearchState, find_search, kept_searches, open_kept
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.trial_record import TrialState
from tests.search.played import confirm, give_test_scores, new_search, play, study_of


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def finished(runs, tiny_store):
    """A search of four trials with everything done."""
    plan = new_search(runs, "done", tiny_store)
    study = study_of(plan)
    play(study, [50.0, 70.0, 60.0, 40.0])
    give_test_scores(study)
    return plan.folder


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All that a folder has, with the times of its files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_finished_search_is_read_and_nothing_is_written(finished):
    before = content(finished)
    search = open_kept(finished)
    assert (search.state, search.ended, search.failed) == (SearchState.FINISHED, 4, 0)
    assert (search.best.trial.name, search.best.score, search.best.seeds) == ("trial-001", 70.0, 0)
    assert search.progress == "4 of 4 trials have ended"
    assert (search.plan.dataset, search.plan.protocol, search.metric) == ("synthetic", "xview", "val/knn/fused")
    assert timedelta() <= datetime.now().astimezone() - search.started < timedelta(minutes=10)
    assert content(finished) == before


def test_a_folder_that_cannot_be_written_is_read(finished):
    files = [finished, *finished.rglob("*")]
    for path in files:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert open_kept(finished).ended == 4
    finally:
        for path in files:
            path.chmod(0o755)


def test_a_search_without_a_study_yet_has_no_trials(runs, tiny_store):
    folder = new_search(runs, "new", tiny_store).folder
    search = open_kept(folder)
    assert (search.state, search.ended, search.best) == (SearchState.INTERRUPTED, 0, None)
    assert not (folder / "study.db").exists()


def test_a_running_search_is_read_with_the_process_that_runs_it(runs, tiny_store):
    """While its process has a transaction open: nothing waits for it, and it loses nothing."""
    plan = new_search(runs, "it", tiny_store)
    study = study_of(plan)
    play(study, [50.0, None])
    with lock_folder(plan.folder), sqlite3.connect(plan.folder / "study.db") as writer:
        writer.execute("insert into study_user_attributes (study_id, key, value_json) values (1, 'k', '1')")
        search = open_kept(plan.folder)
        assert (search.state, search.ended, len(search.study.trials)) == (SearchState.RUNNING, 1, 2)
        assert str(search.use.holder).startswith("process ")
        assert search.study.trials[1].state is TrialState.UNFINISHED
    assert study.next().index == 2
    assert open_kept(plan.folder).state is SearchState.INTERRUPTED


def test_what_a_kill_left_in_the_middle_of_a_write_is_undone_in_the_copy_alone(finished):
    """The journal that goes with it stays for whoever resumes the search."""
    code = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('pragma cache_size = 1'); db.execute('begin')\n"
        "db.execute('create table big (x)')\n"
        "db.executemany('insert into big values (?)', [('x' * 1000,) for _ in range(500)])\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, finished / "study.db"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (finished / "study.db-journal").stat().st_size > 0
    before = content(finished)
    assert open_kept(finished).ended == 4
    assert content(finished) == before


@pytest.mark.parametrize(
    ("scores", "state", "failed"),
    [
        ([50.0, FailureTag.VALUES, 60.0, 40.0], SearchState.FINISHED, 1),
        ([50.0, FailureTag.KILLED, 60.0, 40.0], SearchState.FINISHED, 1),  # which a resume would try again
        ([FailureTag.VALUES] * 4, SearchState.FAILED, 4),
        ([50.0, 60.0], SearchState.INTERRUPTED, 0),
        ([50.0, None, 60.0, 40.0], SearchState.INTERRUPTED, 0),
    ],
)
def test_the_state_is_what_has_become_of_the_trials(runs, tiny_store, scores, state, failed):
    plan = new_search(runs, "it", tiny_store)
    study = study_of(plan)
    play(study, scores)
    give_test_scores(study)
    search = open_kept(plan.folder)
    assert (search.state, search.failed) == (state, failed)
    assert search.ended == sum(score is not None for score in scores)


def test_a_search_with_more_failures_than_its_space_allows_has_failed(runs, tiny_store):
    plan = new_search(runs, "it", tiny_store, budget={"trials": 30, "max_failure_rate": 0.1})
    play(study_of(plan), [50.0, FailureTag.VALUES])
    assert open_kept(plan.folder).state is SearchState.INTERRUPTED  # 1 is 10 % of the 10 that it is taken of
    play(study_of(plan), [FailureTag.VALUES])
    assert open_kept(plan.folder).state is SearchState.FAILED


def test_a_search_that_is_not_confirmed_yet_is_interrupted_and_then_ranked_by_the_fresh_seeds(runs, tiny_store):
    plan = new_search(runs, "it", tiny_store, confirm={"top": 2, "seeds": 3})
    study = study_of(plan)
    first, second, third, _ = play(study, [50.0, 70.0, 60.0, 40.0])
    give_test_scores(study)
    assert open_kept(plan.folder).state is SearchState.INTERRUPTED
    fresh = {1: 66.0, 2: 64.0, 3: 68.0}
    confirm(study, third, fresh)
    confirm(study, second, {1: 60.0, 2: 61.0, 3: 62.0})
    assert open_kept(plan.folder).state is SearchState.INTERRUPTED  # the start point is to be confirmed, too
    confirm(study, first, {1: 50.0, 2: 51.0, 3: 52.0})
    give_test_scores(study)
    search = open_kept(plan.folder)
    assert (search.state, search.best.trial.index) == (SearchState.FINISHED, third.index)
    assert (search.best.score, search.best.seeds) == (66.0, 3)
    half = stats.t.ppf(0.975, 2) * 2 / 3**0.5
    assert search.best.interval == pytest.approx((66 - half, 66 + half))


def test_searches_are_listed_newest_first_with_the_damaged_ones(runs, tiny_store, finished):
    for name, started in (("older", "2025-01-01T10:00:00+00:00"), ("newer", "2099-01-01T10:00:00+00:00")):
        shutil.copytree(finished, runs / name)
        (runs / name / "environment.yaml").write_text(f"- started: '{started}'\n")
    (runs / "older" / "study.db").write_bytes(b"no study" * 200)
    (runs / "pretraining").mkdir()
    (runs / "pretraining" / "pretrain.yaml").touch()
    found = dict(kept_searches(runs))
    assert [folder.name for folder in found] == ["newer", "done", "older"]
    error = found[runs / "older"]
    assert isinstance(error, CmdTuneError)
    assert str(error).startswith(f"{runs / 'older' / 'study.db'}: is damaged (file is not a database)")
    assert len(error.lines) == 1


def test_a_file_that_is_none_keeps_no_other_search_from_the_list(finished, runs):
    (runs / "odd" / "search.yaml").mkdir(parents=True)
    (runs / "odder" / "search.yaml").mkdir(parents=True)
    (runs / "odder" / "lock").mkdir()
    found = dict(kept_searches(runs))
    assert found[finished].ended == 4
    for name in ("odd", "odder"):
        assert len(found[runs / name].lines) == 1
        assert str(runs / name) in str(found[runs / name])


@pytest.mark.parametrize("broken", ["search.yaml", "space.yaml", "trials/001/history.jsonl", "clock.json"])
def test_a_damaged_file_is_named_in_one_line(finished, broken):
    (finished / broken).write_text("[:\n")
    with pytest.raises(CmdTuneError) as caught:
        open_kept(finished)
    assert str(caught.value).startswith(f"{finished / broken}: ")


def test_a_search_is_found_by_name_and_a_run_of_another_command_is_none(finished, runs):
    assert find_search(runs, "done") == finished
    (runs / "p").mkdir()
    (runs / "p" / "pretrain.yaml").touch()
    with pytest.raises(UsageError, match=r"^p: is a run of pretrain, and not a search$"):
        find_search(runs, "p")


def test_a_table_has_cells_and_no_best_trial(runs, tiny_store):
    plan = new_search(
        runs, "table", tiny_store, method="cells", cells=[{"topk": 8}, {"topk": 16}], seeds=[0, 1],
        metric={"name": "test/knn/fused", "goal": "maximize"},
        **dict.fromkeys(("parameters", "points_to_evaluate", "budget", "refit", "confirm", "ablation")),
    )  # fmt: skip
    study = study_of(plan)
    for trial in play(study, [50.0, 60.0, 70.0, 80.0]):
        study.record_test(trial, {"test/knn/fused": 1.0})
    search = open_kept(plan.folder)
    assert (search.state, search.ended, search.study.budget, search.best) == (SearchState.FINISHED, 4, 4, None)


def test_a_search_that_an_earlier_release_was_interrupted_in_is_read(golden, tmp_path):
    """Its data need not be where they were; it had no clock, and its locks named nobody."""
    with ZipFile(golden / "runs-0.1.0.zip") as archive:
        archive.extractall(tmp_path)
    before = content(tmp_path)
    search = open_kept(find_search(tmp_path / "runs", "search"))
    assert (search.state, search.ended, search.study.budget) == (SearchState.INTERRUPTED, 2, 4)
    assert (search.seconds, search.best.seeds) == (None, 0)
    assert [trial.state for trial in search.study.trials.values()][-1] is TrialState.UNFINISHED
    assert content(tmp_path) == before
