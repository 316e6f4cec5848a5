"""The head of a report: the data, how many trials finished, why others did not."""

from dataclasses import replace

from cmd_tune.evaluate.tally import write_tally
from cmd_tune.runs.pretrain_and_score import UNTRAINED_TALLY
from cmd_tune.search.report.sections.setup import setup
from tests.search.report.tables import HERE, SUBJECTS, findings_of_table


def test_trials_that_failed_are_named_and_count_nowhere(table_space, played):
    text = setup(findings_of_table(played(table_space([0, 1]), {(4, 0): 61, (4, 1): 63}))).markdown
    assert "2 of 4 trials finished" in text
    assert "trial-001 failed (topk 8, seed 0): the loss is nan in epoch 1" in text


def test_the_data_the_scale_and_what_one_clip_is_worth(table_space, played):
    """A clip of 200 is half a point."""
    study = played(table_space([0, 7]), {(k, s): 60 for k in (4, 8) for s in (0, 7)})
    assert setup(findings_of_table(study)).markdown == (
        "# A table\n\n"
        "synthetic, xview, preset quick, 3 epochs, seeds 0, 7: 4 of 4 trials finished. "
        "Test set: 200 clips; one is 0.50 points."
    )
    nothing_tested = setup(findings_of_table(study, replace(HERE, queries={"val": 50}))).markdown
    assert nothing_tested.endswith("4 of 4 trials finished.")


def test_how_many_clips_were_pretrained_on_here_and_by_those_who_reported(table_space, played):
    """Mao et al., ECCV 2022, on all 40,091 clips of NTU RGB+D 60, cross-subject."""
    paper = {"by": "Mao et al.", "dataset": "ntu-60", "protocol": "xsub", "probes": {"linear": "SGD"}}
    for origin, theirs in ((paper, "; Mao et al.: on 40,091 of ntu-60 xsub"), (None, "")):
        study = played(table_space([0], reported_on=origin), {(4, 0): 61, (8, 0): 70})
        for pretrained, ours in ((1020, "all 1,020"), (733, "733 of the 1,020")):
            text = setup(findings_of_table(study, replace(HERE, pretrained=pretrained, training=1020))).markdown
            assert f"\nPretrained on {ours} training clips{theirs}." in text


def test_cells_that_hold_different_clips_out_are_not_counted_as_one(table_space, played):
    cells = [{"topk": 4, "holdout": "validation"}, {"topk": 8, "holdout": "none"}]
    study = played(table_space([0], cells=cells, claims=[]), {})
    text = setup(findings_of_table(study, replace(HERE, pretrained=733, training=1020))).markdown
    assert "\nPretrained on what each cell's holdout leaves of the 1,020 training clips." in text


def test_what_intervals_are_over_is_said_once_baselines_were_counted(table_space, played):
    study = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    assert "Intervals" not in setup(findings_of_table(study)).markdown
    write_tally(study.folder / UNTRAINED_TALLY, SUBJECTS)
    text = setup(findings_of_table(study)).markdown
    together = "over 200 clips, those of each of 4 subjects taken together"
    assert f"\nIntervals of baselines, and of cells with one seed, are {together}." in text


def test_trials_of_cells_that_the_file_no_longer_has_are_not_among_the_finished(table_space, played):
    """A table without a title has the name of its folder."""
    played(table_space([0]), {(4, 0): 61, (8, 0): 70})
    study = played(table_space([0], cells=[{"topk": 4}], claims=[], title=None), {})
    text = setup(findings_of_table(study)).markdown
    assert text.startswith("# search\n")
    assert "seeds 0: 1 of 1 trials finished." in text


def test_a_search_has_no_head(findings_of):
    assert setup(findings_of("search, one trial")) is None
