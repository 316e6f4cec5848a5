"""Tables of a space file: cells, seeds and claims as they are meant, and one line for each thing that can be wrong."""

from collections.abc import Callable

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.comparison import Relation
from cmd_tune.search.spaces.space import Space

Load = Callable[..., Space]


def claim(text: str) -> dict[str, str]:
    return {"claims": f"[{{says: so, {text}}}]"}


def test_values_are_keyed_as_settings_have_them(load_table: Load) -> None:
    """1 and 1.0 of a temperature are one cell, and what a resumed search reads back from JSON is that cell."""
    space = load_table(cells="[{student_temperature: 1, modalities: [joint, bone]}]")
    assert space.comparison is not None
    (values,) = space.comparison.trials()
    assert values == {"student_temperature": 1.0, "modalities": ["joint", "bone"], "seed": 0}
    assert isinstance(values["student_temperature"], float)
    with pytest.raises(UsageError, match=r"cells\[1\]: is listed twice"):
        load_table(cells="[{student_temperature: 1}, {student_temperature: 1.0}]")


@pytest.mark.parametrize(
    ("text", "relation", "pairs"),
    [
        ("best: {topk: 8}", Relation.ABOVE, ((1, 0), (1, 2))),
        ("best: {topk: 4, epochs: 5}", Relation.ABOVE, ((2, 0), (2, 1))),
        ("ordered: [{topk: 8}, {epochs: 5}, {topk: 4, epochs: 3}]", Relation.ABOVE, ((2, 1), (0, 2))),
        ("flat: [{topk: 8}, {epochs: 5}, {topk: 4, epochs: 3}], margin: 1", Relation.WITHIN, ((1, 2), (1, 0), (2, 0))),
        ("no_worse: {cell: {topk: 8}, than: {epochs: 5}}, margin: 1", Relation.NOT_BELOW, ((1, 2),)),
        ("decreasing: {along: topk, over: [8, 4]}", Relation.ABOVE, ((1, 0),)),
        ("decreasing: {along: topk, over: [4, 6, 8]}", Relation.ABOVE, ((0, 1),)),
        ("decreasing: {along: epochs, over: [5, 3]}", Relation.ABOVE, ((2, 0),)),
    ],
)
def test_what_a_claim_says_of_pairs(
    load_table: Load, text: str, relation: Relation, pairs: tuple[tuple[int, int]]
) -> None:
    table = load_table(**claim(text)).comparison
    assert table is not None
    (ours,) = table.claims
    assert (ours.says, ours.relation, ours.pairs, ours.metrics) == ("so", relation, pairs, ("test/knn/joint",))
    assert ours.margin == (0 if relation is Relation.ABOVE else 1)


def test_decreasing_compares_neighbours_within_what_agrees_otherwise(load_table: Load) -> None:
    cells = [f"{{topk: {topk}, epochs: {epochs}}}" for epochs in (3, 5) for topk in (1, 2, 4)]
    text = "metrics: [test/linear/joint], decreasing: {along: topk, over: [1, 2, 4]}"
    table = load_table(cells=f"[{', '.join(cells)}]", **claim(text)).comparison
    assert table is not None
    assert table.claims[0].pairs == ((0, 1), (1, 2), (3, 4), (4, 5))
    assert table.metrics() == ("test/linear/joint",)


def test_a_claim_finds_its_cell_by_lists_too(load_table: Load) -> None:
    cells = "[{modalities: [joint, bone]}, {modalities: [joint, motion]}]"
    text = "metrics: [test/linear/joint], best: {modalities: [joint, motion]}"
    table = load_table(cells=cells, **claim(text)).comparison
    assert table is not None
    assert table.claims[0].pairs == ((1, 0),)


BAD: list[tuple[dict[str, str | None], str, str]] = [
    ({"cells": None}, "cells", "is missing"),
    ({"cells": "{topk: 3}"}, "cells", "should be a list"),
    ({"cells": "[]"}, "cells", "is empty"),
    ({"cells": "[3]"}, "cells[0]", "should be a mapping"),
    ({"cells": "[{}]"}, "cells[0]", "has no setting"),
    ({"cells": "[{reported: {test/knn/joint: 3}}]"}, "cells[0]", "has no setting"),
    ({"cells": "[{topc: 3}]"}, "cells[0].topc", "did you mean 'topk'?"),
    ({"cells": "[{topk: 0}]"}, "cells[0].topk", "0 should be greater than or equal to 1"),
    ({"cells": "[{topk: 3, seed: 1}]"}, "cells[0].seed", "seeds repeats every cell"),
    ({"cells": "[{topk: 3}, {topk: 3}]"}, "cells[1]", "is listed twice"),
    ({"cells": "[{topk: 3, epochs: 2}, {topk: 4}]"}, "cells[1]", "lacks epochs"),
    ({"cells": "[{topk: 3}, {topk: 4, epochs: 2}]"}, "cells[1].epochs", "is not in the first cell"),
    ({"cells": "[{topk: 3, reported: 3}]"}, "cells[0].reported", "should be a mapping ({metric: percent}); found 3"),
    ({"cells": "[{topk: 3, reported: {a: x}}]"}, "cells[0].reported.a", "should be a finite number; found 'x'"),
    ({"cells": "[{topk: 3, reported: {a: 101}}]"}, "cells[0].reported.a", "101 is no accuracy in percent"),
    ({"settings": "{topk: 3}", "cells": "[{topk: 3}]"}, "cells[0].topk", "is in settings, too"),
    ({"preset": "quick", "cells": "[{topk: 3}, {topk: 300}]"}, "cells[1]", "topk 300 exceeds queue_size 192"),
    ({"seeds": "3"}, "seeds", "should be a list of whole numbers"),
    ({"seeds": "[]"}, "seeds", "is empty"),
    ({"seeds": "[0, -1]"}, "seeds[1]", "whole number of 0 or more; found -1"),
    ({"seeds": "[0, 1.5]"}, "seeds[1]", "found 1.5"),
    ({"seeds": "[2, 1, 2]"}, "seeds[2]", "2 is listed twice"),
    ({"title": "3"}, "title", "should be a name"),
    (
        {"metric": None, "metrics": "[{name: a}]"},
        "metrics",
        "does not go with method cells, which selects nothing; write metric",
    ),
    ({"reported_on": "ntu-60"}, "reported_on", "should be a mapping ({by: whom, dataset: ntu-60, protocol: xsub"),
    ({"reported_on": "{by: a, dataset: b, protocol: c}"}, "reported_on.probes", "is missing"),
    ({"reported_on": "{by: a, dataset: 3, protocol: c, probes: {}}"}, "reported_on.dataset", "should be a name"),
    ({"reported_on": "{by: a, dataset: b, protocol: c, probes: {nkn: d}}"}, "reported_on.probes.nkn", "mean 'knn'?"),
    ({"reported_on": "{by: a, dataset: b, protocol: c, probes: {knn: 1}}"}, "reported_on.probes.knn", "should be a na"),
    ({"parameters": "{topk: {values: [1]}}"}, "parameters", "does not go with method cells"),
    ({"constraints": "[topk < 3]"}, "constraints", "does not go with method cells"),
    ({"points_to_evaluate": "[{topk: 3}]"}, "points_to_evaluate", "does not go with method cells"),
    ({"early_terminate": "{type: asha}"}, "early_terminate", "does not go with method cells"),
    (
        {"method": "grid", "cells": None, "seeds": "[1]", "parameters": "{topk: {values: [1]}}"},
        "seeds",
        "lists seeds, which needs method: cells; write how many runs a trial has, such as 3",
    ),
    ({"method": "tpe", "parameters": "{topk: {min: 1, max: 3}}"}, "cells", "needs method: cells, not tpe; remove it"),
    # claims
    ({"claims": "{says: so}"}, "claims", "should be a list of claims"),
    ({"claims": "[{best: {topk: 8}}]"}, "claims[0].says", "is missing"),
    ({"claims": "[{says: 3, best: {topk: 8}}]"}, "claims[0].says", "should be a name"),
    (claim("bset: {topk: 8}"), "claims[0].bset", "did you mean 'best'?"),
    (claim("metrics: [a]"), "claims[0]", "says nothing of cells; write one of best, ordered, decreasing, flat, no_w"),
    (claim("best: {topk: 8}, ordered: []"), "claims[0]", "says best and ordered; write one of"),
    (claim("best: {topk: 5}"), "claims[0].best", "matches none of the cells; add it"),
    (claim("best: {topk: 4}"), "claims[0].best", "matches 2 cells; name more of its settings"),
    (claim("best: {}"), "claims[0].best", "matches 3 cells"),
    (claim("best: {tpok: 4}"), "claims[0].best.tpok", "did you mean 'topk'?"),
    (claim("best: {topk: x}"), "claims[0].best.topk", "should be a valid integer"),
    (claim("best: [3]"), "claims[0].best", "should be a mapping"),
    ({"cells": "[{topk: 3, reported: {a: 1}}]", **claim("best: {topk: 3}")}, "claims[0].best", "no other cell"),
    (claim("best: {topk: 8}, margin: 1"), "claims[0].margin", "does not go with best; remove it"),
    (claim("best: {topk: 8}, metrics: []"), "claims[0].metrics", "names none"),
    (claim("best: {topk: 8}, metrics: [3]"), "claims[0].metrics[0]", "should be a name"),
    ({"cells": "[{topk: 3}, {topk: 8}]", **claim("best: {topk: 8}")}, "claims[0].metrics", "no cell has a reported"),
    (claim("ordered: {topk: 8}"), "claims[0].ordered", "should be a list"),
    (claim("ordered: [{topk: 8}]"), "claims[0].ordered", "two cells or more, each once"),
    (claim("ordered: [{topk: 8}, {topk: 8}]"), "claims[0].ordered", "two cells or more, each once"),
    (claim("ordered: [{topk: 8}, {topk: 9}]"), "claims[0].ordered[1]", "none of the cells"),
    (claim("flat: [{topk: 8}, {epochs: 5}]"), "claims[0].margin", "is missing; flat needs one, in points"),
    (claim("flat: [{topk: 8}, {epochs: 5}], margin: 0"), "claims[0].margin", "0 is not above 0"),
    (claim("flat: [{topk: 8}, {epochs: 5}], margin: a"), "claims[0].margin", "should be a finite number"),
    (claim("no_worse: {cell: {topk: 8}}, margin: 1"), "claims[0].no_worse.than", "is missing"),
    (claim("no_worse: {cell: {topk: 8}, than: {topk: 8}}, margin: 1"), "claims[0].no_worse", "each once"),
    (claim("no_worse: {cell: {topk: 8}, than: {topk: 9}}, margin: 1"), "claims[0].no_worse.than", "none of the"),
    (claim("decreasing: {along: topk}"), "claims[0].decreasing.over", "is missing"),
    (claim("decreasing: {along: tpok, over: [1]}"), "claims[0].decreasing.along", "did you mean 'topk'?"),
    (claim("decreasing: {along: topk, over: [a]}"), "claims[0].decreasing.over[0]", "valid integer"),
    (claim("decreasing: {along: topk, over: [4]}"), "claims[0].decreasing.over", "no two cells differ in topk alone"),
]


@pytest.mark.parametrize(("keys", "place", "said"), BAD)
def test_each_mistake_is_named_in_one_line(
    check_mistake: Callable[..., None], load_table: Load, keys: dict[str, str | None], place: str, said: str
) -> None:
    check_mistake(load_table, keys, place, said)


ALL_AT_ONCE = [
    (
        {"settings": "{topk: 3}"},
        [f"cells[{cell}].topk: is in settings, too; keep it in one place" for cell in range(3)],
    ),
    (
        {
            "cells": "[{topk: 0}, {tpok: 8}, {topk: 4, seed: 2}]",
            "seeds": "[0, 0, -1]",
            "title": "3",
            **claim("bset: 3"),
        },
        [
            "cells[0].topk: 0 should be greater than or equal to 1",
            "cells[1].tpok: unknown key, did you mean 'topk'?",
            "cells[2].seed: does not belong into a cell; seeds repeats every cell with each seed",
            "seeds[1]: 0 is listed twice; remove one",
            "seeds[2]: should be a whole number of 0 or more; found -1",
            "claims[0].bset: unknown key, did you mean 'best'?",
            "title: should be a name; found 3",
        ],
    ),
    (
        {"claims": "[{says: a, best: {topk: 9}}, 3, {says: b, decreasing: {along: tpok, over: 3}}, {best: {topk: 8}}]"},
        [
            "claims[0].best: matches none of the cells; add it, or change the claim",
            "claims[1]: should be a mapping ({says: in words, best: {setting: value}}); found 3",
            "claims[2].decreasing.along: 'tpok' is unknown, did you mean 'topk'?",
            "claims[3].says: is missing; write {says: in words, best: {setting: value}}",
        ],
    ),
    (
        {"preset": "quick", "cells": "[{topk: 3}, {topk: 300}, {topk: 400}]"},
        [
            f"cells[{cell}]: breaks a rule of the settings: topk {topk} exceeds queue_size 192; "
            "at most 192 neighbours; change the cell or the settings"
            for cell, topk in ((1, 300), (2, 400))
        ],
    ),
]


@pytest.mark.parametrize(("keys", "lines"), ALL_AT_ONCE)
def test_all_mistakes_are_named_at_once(
    check_mistakes: Callable[..., None], load_table: Load, keys: dict[str, str | None], lines: list[str]
) -> None:
    check_mistakes(load_table, keys, lines)
