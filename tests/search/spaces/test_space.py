"""A space: which configurations it has, which of them are allowed, and what is said where none is."""

from collections.abc import Callable

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.space import Space
from cmd_tune.settings import make_settings

Load = Callable[..., Space]
QUICK = make_settings("quick", ("test", {"queue_size": 512, "topk": 64, "epochs": 30})).model_dump()


def test_cells_in_the_order_written_without_those_that_break_a_constraint(load: Load) -> None:
    space = load(
        method="grid",
        parameters="{queue_size: {values: [8, 2]}, topk: {values: [2, 4]}, epochs: {value: 3}}",
        constraints="[topk <= queue_size]",
    )
    expected = [(8, 2), (8, 4), (2, 2)]
    cells = [{"queue_size": queue, "topk": topk} for queue, topk in expected]
    assert space.cells(QUICK) == cells


def test_constraints_see_searched_fixed_and_other_settings(load: Load) -> None:
    space = load(
        parameters="{topk: {min: 1, max: 64}, queue_size: {value: 100}}",
        constraints="[topk * 2 <= queue_size, topk <= epochs]",
    )
    assert space.allows({"topk": 30}, QUICK)
    assert not space.allows({"topk": 31}, QUICK)
    assert space.allows({"topk": 50}, {**QUICK, "epochs": 50})
    assert not space.allows({"topk": 51}, {**QUICK, "epochs": 60})


def test_what_settings_demand_holds_without_being_written(load: Load) -> None:
    space = load(method="grid", parameters="{queue_size: {values: [32, 64, 512]}}")
    assert space.cells(QUICK) == [{"queue_size": 64}, {"queue_size": 512}]  # topk is 64


def test_variants_are_the_choices_that_some_trial_takes(load: Load) -> None:
    """Of these settings alone, without what a constraint rules out whatever the rest is."""
    space = load(
        parameters="{objective: {values: [base, cmd, mcl]}, layers: {values: [1, 2]}, topk: {min: 4, max: 8}}",
        constraints="[objective != 'mcl', topk > 4 or objective == 'base']",
    )
    assert space.variants(QUICK, ["objective", "stages"]) == [{"objective": "base"}, {"objective": "cmd"}]
    assert space.variants(QUICK, ["layers"]) == [{"layers": 1}, {"layers": 2}]
    assert space.variants(QUICK, ["stages", "topk"]) == [{}]  # nothing of it is a choice


def test_variants_of_a_table_are_its_cells(load_table: Load) -> None:
    assert load_table().variants(QUICK, ["epochs", "objective"]) == [{"epochs": 3}, {"epochs": 3}, {"epochs": 5}]


def test_without_settings_a_point_is_checked_by_what_the_file_fixes_alone(load: Load) -> None:
    """Whether 40 epochs are there is known to the command line only."""
    space = load(points_to_evaluate="[{topk: 40}]", constraints="[topk <= epochs]")
    space.check({})
    with pytest.raises(
        UsageError, match=r"points_to_evaluate\[0\]: breaks 'topk <= epochs' with epochs = 30, topk = 40"
    ):
        space.check(QUICK)


BAD: list[tuple[dict[str, str | None], str, str]] = [
    (
        {
            "method": "grid",
            "preset": "quick",
            "parameters": "{topk: {values: [3, 4]}}",
            "constraints": "[topk > queue_size / 2]",
        },
        "constraints",
        "no cell of the grid meets them",
    ),
    (
        {"points_to_evaluate": "[{topk: 20}]", "settings": "{queue_size: 19}", "constraints": "[topk <= queue_size]"},
        "points_to_evaluate[0]",
        "breaks 'topk <= queue_size' with queue_size = 19, topk = 20",
    ),
    (
        {"points_to_evaluate": "[{topk: 40}]", "settings": "{epochs: 30}", "constraints": "[topk <= epochs]"},
        "points_to_evaluate[0]",
        "breaks 'topk <= epochs' with epochs = 30, topk = 40",
    ),
    (
        {
            "points_to_evaluate": "[{topk: 600}]",
            "preset": "quick",
            "settings": "{queue_size: 512}",
            "parameters": "{topk: {min: 64, max: 1024}}",
        },
        "points_to_evaluate[0]",
        "topk 600 exceeds queue_size 512",
    ),
]


@pytest.mark.parametrize(("keys", "place", "said"), BAD)
def test_each_mistake_is_named_in_one_line(
    check_mistake: Callable[..., None], load: Load, keys: dict[str, str | None], place: str, said: str
) -> None:
    check_mistake(load, keys, place, said)


def test_all_mistakes_are_named_at_once(check_mistakes: Callable[..., None], load: Load) -> None:
    check_mistakes(
        load,
        {"points_to_evaluate": "[{topk: 20}, {topk: 64}, {topk: 50}]", "constraints": "[topk < 30]"},
        [
            f"points_to_evaluate[{point}]: breaks 'topk < 30' with topk = {topk}; change the point or the constraint"
            for point, topk in ((1, 64), (2, 50))
        ],
    )
