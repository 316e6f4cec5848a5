"""What a soak counts in what a search has left behind."""

import json
from collections import Counter

from benchmarks.soak import table
from benchmarks.soak_results import count_again, count_differing, failed, outcome
from benchmarks.soak_run import Soak
from cmd_tune.train.checkpoint import save_checkpoint


def test_an_epoch_that_was_run_again_has_another_time(tmp_path):
    """Reported with 1, 2 and 3 s; the checkpoint has the second time of the last two."""
    folder = tmp_path / "trials" / "000"
    folder.mkdir(parents=True)
    reported = [{"epoch": epoch, "seconds": float(epoch)} for epoch in (1, 2, 3)]
    (folder / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in reported))
    for times, expected in (((1.0, 2.0, 3.0), 0), ((1.0, 2.5, 3.5), 2)):
        kept = [{"epoch": epoch, "seconds": seconds} for epoch, seconds in enumerate(times, start=1)]
        save_checkpoint(folder / "checkpoint.pt", {"history": kept})
        assert count_again(tmp_path) == expected


def test_a_trial_differs_by_all_but_its_time_and_tests_of_its_own(tmp_path):
    def written(*rows):
        (tmp_path / "trials.csv").write_text("\n".join(("trial,state,score,test,seconds", *rows)))
        return tmp_path

    expected = outcome(written("trial-000,finished,50.0,45.0,1.0", "trial-001,finished,40.0,,1.0"))
    assert (
        count_differing(written("trial-000,finished,50.0,45.0,2.0", "trial-001,finished,40.0,41.0,1.0"), expected) == 0
    )
    assert count_differing(written("trial-000,finished,50.0,45.5,1.0", "trial-001,finished,40.0,,1.0"), expected) == 1
    assert count_differing(written("trial-000,failed,50.0,45.0,1.0"), expected) == 2
    assert failed(tmp_path) == 1


def test_the_kinds_of_all_soaks_are_in_the_table_the_most_frequent_first():
    soaks = {"1 worker": Soak(Counter(desk=2, host=1)), "2 workers": Soak(Counter(host=4), gave_up=["error: no place"])}
    lines = table(soaks).splitlines()
    assert lines[:5] == [
        "| | 1 worker | 2 workers |",
        "|---|---|---|",
        "| host | 1 | 4 |",
        "| desk | 2 | 0 |",
        "| kills | 3 | 4 |",
    ]
    assert lines[-1] == "gave up: error: no place"
