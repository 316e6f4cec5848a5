"""Reports of kept searches: as those at their end, of what is known so far, and without their data."""

import csv
import io
import os

import pytest
from rich.console import Console

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.run_folder import lock_folder, resume_line
from cmd_tune.search.kept_report import show_report
from cmd_tune.search.kept_search import open_kept
from cmd_tune.yaml_files import dump_yaml, read_yaml
from tests.conftest import write_tiny_store
from tests.search.played import give_test_scores, new_search, play, study_of


@pytest.fixture
def shown():
    """What the report of a search prints."""

    def show(folder):
        file = io.StringIO()
        show_report(open_kept(folder), Console(file=file, width=300))
        return file.getvalue()

    return show


def column(folder, name):
    return [row[name] for row in csv.DictReader((folder / "trials.csv").read_text().splitlines())]


def test_a_finished_search_has_its_files_again_with_the_baselines_it_kept(shown, tmp_path, tiny_store):
    plan = new_search(tmp_path / "runs", "it", tiny_store)
    folder, study = plan.folder, study_of(plan)
    play(study, [50.0, 70.0, 60.0, 40.0])
    give_test_scores(study, value=lambda index: 30.0 + index)
    kept = {"raw_skeletons": {"test/knn/fused": 12.5}, "untrained_encoder": {"test/knn/fused": 25.0}}
    (folder / "baselines.yaml").write_text(dump_yaml(kept))
    text = shown(folder)
    assert "so far" not in text
    assert column(folder, "rank") == ["3", "1", "2", "4"]
    best = (folder / "best.yaml").read_text()
    assert best.startswith("# trial-001 of it: val/knn/fused 70.00\n# test/knn/fused 31.00\n")
    assert read_yaml(folder / "baselines.yaml") == kept
    (untrained,) = (line.split() for line in text.splitlines() if line.startswith("untrained "))
    assert "25.0" in untrained
    assert f"Folder: {folder} (report.html, trials.csv, " in text


def test_a_running_search_is_reported_so_far_by_name_of_its_process(shown, tmp_path, tiny_store):
    plan = new_search(tmp_path / "runs", "it", tiny_store)
    play(study_of(plan), [50.0, 70.0, None])
    with lock_folder(plan.folder):
        first, *_ = shown(plan.folder).splitlines()
    assert first.startswith(f"search it: runs as process {os.getpid()} on ")
    assert first.endswith(", 2 of 4 trials have ended; this is what is known so far")
    assert column(plan.folder, "state") == ["finished", "finished", "unfinished"]
    assert not (plan.folder / "baselines.yaml").exists()  # which nobody has computed yet
    first, *_ = shown(plan.folder).splitlines()
    resume = resume_line("search", plan.folder)
    known = "2 of 4 trials have ended; this is what is known so far"
    assert first == f"search it: is interrupted, {known}; go on with: {resume}"


def test_a_search_that_has_not_begun_has_a_report_of_nothing(shown, tmp_path, tiny_store):
    folder = new_search(tmp_path / "runs", "it", tiny_store).folder
    assert "0 of 4 trials have ended" in shown(folder)
    assert column(folder, "trial") == []


def test_a_table_without_its_data_is_reported_and_says_so(shown, tmp_path):
    store = write_tiny_store(tmp_path / "data.arrow")
    plan = new_search(
        tmp_path / "runs", "table", store, method="cells", cells=[{"topk": 8}, {"topk": 16}], seeds=[0, 1],
        metric={"name": "test/knn/fused", "goal": "maximize"},
        **dict.fromkeys(("parameters", "points_to_evaluate", "budget", "refit", "confirm", "ablation")),
    )  # fmt: skip
    play(study_of(plan), [50.0, 60.0, 70.0, 80.0])
    assert "cannot be opened" not in shown(plan.folder)
    with_data = (plan.folder / "cells.csv").read_text()
    store.path.unlink()
    assert f"without the number of clips, since the data cannot be opened: {store.path}" in shown(plan.folder)
    assert (plan.folder / "cells.csv").read_text().splitlines()[0] == with_data.splitlines()[0]


def test_a_damaged_file_of_baselines_is_named(shown, tmp_path, tiny_store):
    folder = new_search(tmp_path / "runs", "it", tiny_store).folder
    (folder / "baselines.yaml").write_text("- 1\n")
    with pytest.raises(CmdTuneError, match=r"baselines.yaml: holds no scores of baselines; remove it"):
        shown(folder)


def test_a_part_that_cannot_be_written_fails_and_the_others_are_there(shown, tmp_path, tiny_store):
    plan = new_search(tmp_path / "runs", "it", tiny_store)
    play(study_of(plan), [50.0])
    (plan.folder / "best.yaml").mkdir()
    with pytest.raises(CmdTuneError, match=r"a part of the report failed, the rest is written; see errors.log there$"):
        shown(plan.folder)
    assert column(plan.folder, "state") == ["finished"]
    assert (plan.folder / "errors.log").exists()
