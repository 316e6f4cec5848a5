"""The table of a comparison: our scores beside the reported ones, in the order of the file."""

import re
from dataclasses import replace

from cmd_tune.evaluate.intervals import clustered_interval
from cmd_tune.evaluate.tally import write_tally
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY
from cmd_tune.search.report.sections.cells import cells
from tests.search.report.printed import lines_of
from tests.search.report.tables import SUBJECTS, findings_of_table, reported_on


def shown(study):
    """(as Markdown, as it is printed)."""
    section = cells(findings_of_table(study))
    return section.markdown, "\n".join(lines_of(*section.screen))


def test_settings_stand_below_their_names_however_a_cell_lists_them(table_space, played):
    listed = [{"topk": 4, "teacher_temperature": 0.05}, {"teacher_temperature": 0.02, "topk": 8}]
    space = table_space([0], cells=listed, claims=[])
    text, printed = shown(played(space, {(4, 0): 61, (8, 0): 62}))
    assert "| topk | teacher_temperature | val/knn/fused |\n" in text
    assert [line[:11] for line in text.splitlines() if line.startswith(("| 4 ", "| 8 "))] == [
        "| 4 | 0.05 ",
        "| 8 | 0.02 ",
    ]
    assert re.search(r"^ +8 +0\.02 ", printed, re.MULTILINE)


def test_only_the_metric_of_another_probe_is_left_out(table_space, played):
    origin = reported_on(probes={"knn": "1-NN", "linear": "SGD over 80 epochs"})
    study = played(table_space([0, 1], reported_on=origin), {(k, s): 50 for k in (4, 8) for s in (0, 1)})
    text, _ = shown(study)
    assert (
        "| topk | test/knn/joint | test/knn/joint, reported | test/knn/joint, difference | test/linear/joint |" in text
    )
    why = "their probe is SGD over 80 epochs, ours solved"
    assert f"\nReported accuracies of test/linear/joint are left out: {why}.\n" in text


def test_a_single_seed_is_said_to_have_wilsons_interval(table_space, played):
    _, printed = shown(played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0}))
    said = "Percent right, mean ± half its 95 % interval (one seed: Wilson over clips as if independent)."
    assert said in " ".join(printed.split())


def test_intervals_are_those_of_counts_by_subject(table_space, played):
    study = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    write_tally(study.trials[0].folder / TEST_TALLY, SUBJECTS)
    write_tally(study.folder / UNTRAINED_TALLY, SUBJECTS)
    write_tally(study.folder / RAW_TALLY, replace(SUBJECTS, by_subject=False))
    low, high = clustered_interval([40, 20, 42, 20], [50, 50, 60, 40])
    text, printed = shown(study)
    assert f"| 4 | 61.0 ({low:.1f}–{high:.1f}) |" in text
    assert f"| untrained | 44.0 ({low:.1f}–{high:.1f}) |" in text
    assert "| raw 1-NN | 55.0 (54.1–67.5) |" in text  # as the counts have it, which are not those of the score here
    assert re.search(rf"^ *untrained +44.0 ± {(high - low) / 2:.1f} ", printed, re.MULTILINE)


def test_a_cell_whose_trials_failed_has_a_dash_for_each_number_of_ours(table_space, played):
    text, printed = shown(played(table_space([0, 1]), {(4, 0): 61, (4, 1): 63}))
    assert "| 8 | – | 71.5 | – | – | – | – |" in text
    assert re.search(r"^ +8 +– +71\.5 +– +– +– +–$", printed, re.MULTILINE)


def test_a_table_nobody_reported_on_shows_the_searchs_metric(table_space, played):
    space = table_space([0, 1], cells=[{"topk": 4}, {"topk": 8}], claims=[], title=None)
    text, printed = shown(played(space, {(k, s): 50 for k in (4, 8) for s in (0, 1)}))
    assert "| topk | val/knn/fused |\n" in text
    assert "| 4 | 30.0 (30.0–30.0) |\n" in text  # of the last epoch
    assert "Reported" not in text
    assert "(t over 2 seeds; baselines: over clips)" in " ".join(printed.split())


def test_where_nothing_was_measured_no_interval_is_spoken_of(table_space, played):
    _, printed = shown(played(table_space([0]), {}))
    assert "half its 95 % interval (none was measured)." in " ".join(printed.split())


def test_a_search_has_no_cells(findings_of):
    assert cells(findings_of("search, one trial")) is None
