"""The shipped tables and spaces: the paper's cells, numbers and claims, and spaces that hold the best of them."""

import pytest

from cmd_tune.search.request import read_space
from cmd_tune.search.spaces.space_file import find_space
from cmd_tune.settings import make_settings


def test_shipped_temperatures_span_table_1() -> None:
    space = read_space(find_space("temps.yaml"))
    teacher, student = space.parameters["teacher_temperature"], space.parameters["student_temperature"]
    for pair in ((0.05, 0.05), (0.1, 0.1), (0.01, 0.1), (0.01, 1.0), (0.02, 0.5), (0.05, 1.0)):
        assert (teacher.why_invalid(pair[0]), student.why_invalid(pair[1])) == ("", "")
    assert (space.trials, space.early_terminate) == (12, None)


REPORTED_1 = {
    (0.05, 0.05): 77.8, (0.07, 0.07): 78.0, (0.10, 0.10): 77.5,
    (0.01, 0.1): 79.7, (0.01, 0.5): 78.2, (0.01, 1.0): 76.8,
    (0.02, 0.1): 79.7, (0.02, 0.5): 77.8, (0.02, 1.0): 76.5,
    (0.05, 0.1): 79.8, (0.05, 0.5): 78.0, (0.05, 1.0): 76.8,
}  # fmt: skip


def test_table_1_is_the_papers() -> None:
    table = read_space(find_space("table1")).comparison
    assert table is not None
    cells = {tuple(cell.values.values()): cell.reported for cell in table.cells}
    assert cells == {key: {"test/linear/joint": value} for key, value in REPORTED_1.items()}
    assert list(table.cells[0].values) == ["teacher_temperature", "student_temperature"]
    assert table.seeds == (0, 1, 2)
    best, flat, worse = table.claims
    # The paper's own numbers bear its claims out, cell by cell.
    reported = [cell.reported["test/linear/joint"] for cell in table.cells]
    assert len(best.pairs) == 11
    assert len(worse.pairs) == 6  # 0.1 to 0.5 to 1.0 for three teachers
    assert all(reported[a] > reported[b] for claim in (best, worse) for a, b in claim.pairs)
    assert len(flat.pairs) == 3
    assert all(abs(reported[a] - reported[b]) < flat.margin for a, b in flat.pairs)


def test_tables_2_and_3_are_the_papers() -> None:
    tables = [read_space(find_space(name)).comparison for name in ("table2", "table3")]
    two, three = (
        {tuple(c.values.values()): tuple(c.reported.values()) for c in table.cells} for table in tables if table
    )
    assert two == {
        ("crossclr", "one"): (57.6,), ("crossclr", "two"): (77.3,), ("cmd", "one"): (79.4,), ("cmd", "two"): (79.2,),
    }  # fmt: skip
    assert three == {("base",): (76.1, 63.4), ("mcl",): (77.3, 64.3), ("cmd",): (79.4, 70.6)}
    for table in tables:
        assert table is not None
        for claim in table.claims:
            for metric in claim.metrics:
                for a, b in claim.pairs:
                    assert table.cells[a].reported[metric] > table.cells[b].reported[metric] - claim.margin
    assert tables[1] is not None
    assert tables[1].metrics() == ("test/linear/joint", "test/knn/joint")


@pytest.mark.parametrize("name", ["table1", "table2", "table3"])
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_tables_run_under_every_preset(name: str, preset: str) -> None:
    space = read_space(find_space(name))
    assert space.preset == "quick"
    assert space.settings == {}  # scale is the preset's alone
    space.check(make_settings(preset).model_dump())
