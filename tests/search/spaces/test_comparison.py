"""A comparison: its trials, what differs between them, and the cells that each metric is of."""

from collections.abc import Callable

from cmd_tune.search.spaces.comparison import Cell, Claim, Comparison, Relation
from cmd_tune.search.spaces.space import Space

Load = Callable[..., Space]


def test_every_cell_runs_with_every_seed_one_seed_after_the_other(load_table: Load) -> None:
    space = load_table(seeds="[0, 7]")
    assert space.comparison is not None
    assert [tuple(values.values()) for values in space.comparison.trials()] == [
        (4, 3, 0), (8, 3, 0), (4, 5, 0), (4, 3, 7), (8, 3, 7), (4, 5, 7),
    ]  # fmt: skip
    assert {name: parameter.choices for name, parameter in space.parameters.items()} == {
        "topk": (4, 8),
        "epochs": (3, 5),
        "seed": (0, 7),
    }
    assert [cell.reported for cell in space.comparison.cells] == [{"test/knn/joint": 70.0}, {}, {}]


def test_the_seed_is_part_of_a_trial_also_where_none_is_named(load_table: Load) -> None:
    space = load_table()
    assert space.comparison is not None
    assert [values["seed"] for values in space.comparison.trials()] == [0, 0, 0]


def test_metrics_and_their_cells_are_those_that_were_reported_or_claimed() -> None:
    """By a claim, the cells of its pairs alone; in the order of the file, each once."""
    reported = ({"a": 1.0}, {}, {"b": 2.0, "a": 3.0}, {})
    cells = tuple(Cell({"topk": k}, scores) for k, scores in enumerate(reported, 1))
    claims = (Claim("so", Relation.ABOVE, ((1, 2),), ("c", "a")),)
    table = Comparison("", cells, (0,), claims)
    assert table.metrics() == ("a", "b", "c")
    assert {metric: [cell.values["topk"] for cell in table.cells_of(metric)] for metric in "abcd"} == {
        "a": [1, 2, 3],
        "b": [3],
        "c": [2, 3],
        "d": [],
    }


def test_values_that_are_equal_are_one_choice_in_the_order_of_the_cells() -> None:
    """Also lists, which have no hash."""
    cells = tuple(Cell({"modalities": names}, {}) for names in (["joint"], ["bone"], ["joint"]))
    found = Comparison("", cells, (3, 0), ()).parameters()
    assert found["modalities"].choices == (["joint"], ["bone"])
    assert found["seed"].choices == (3, 0)
