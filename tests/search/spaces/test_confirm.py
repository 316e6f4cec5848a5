"""What a space file and a plan file say of the confirmation, and how many fresh seeds the trials' work pays for."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.confirm import Confirm, confirm_content, read_confirm

OWN, MANY = Confirm(), read_confirm({"top": 2, "seeds": 8})


def test_what_a_file_says_of_the_confirmation_is_kept(make_space):
    assert make_space().confirm == OWN
    assert (OWN.top, OWN.seeds) == (3, None)
    assert make_space(confirm="none").confirm is None
    assert make_space(confirm={"seeds": "auto"}).confirm == OWN
    assert make_space(confirm={"top": 2, "seeds": 8}).confirm == MANY
    for confirm in (OWN, MANY, None):
        assert read_confirm(confirm_content(confirm)) == confirm
    for value, said in (
        ("later", r"confirm: should be a mapping \({top: 3, seeds: 5}, or none\); found 'later'"),
        ({"best": 1}, r"confirm.best: unknown key"),
        ({"seeds": 1}, r"confirm.seeds: should be a whole number of 2 or more; found 1"),
        ({"seeds": [1, 2]}, r"confirm.seeds: should be a whole number of 2 or more"),
        ({"top": 0}, r"confirm.top: should be a whole number of 1 or more; found 0"),
    ):
        with pytest.raises(UsageError, match=said):
            make_space(confirm=value)


@pytest.mark.parametrize(
    ("configurations", "runs", "seeds"),
    [
        (4, 16, 2),  # 8 runs for 4 configurations
        (4, 15, 0),  # 7 runs: one each
        (4, 31, 3),
        (4, 40, 5),
        (4, 4000, 5),
        (2, 8, 2),
        (1, 100, 0),  # nothing to compare it with
    ],
)
def test_half_the_work_of_the_trials_pays(configurations, runs, seeds):
    assert OWN.seeds_for(configurations, runs) == seeds
    assert MANY.seeds_for(configurations, runs) == 8


def test_seeds_are_counted_and_go_with_no_searched_seed(make_space):
    assert make_space().seeds == 1
    assert make_space(seeds=3).seeds == 3
    for changes, said in (
        ({"seeds": [0, 1]}, "seeds: lists seeds, which needs method: cells"),
        ({"seeds": 0}, "seeds: should be a whole number of 1 or more; found 0"),
        (
            {"seeds": 2, "parameters": {"seed": {"values": [0, 1]}}, "points_to_evaluate": None},
            "seeds: does not go with the parameter seed, which it would replace; remove one of them",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            make_space(**changes)
