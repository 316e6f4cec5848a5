"""What counts in a configuration: held against the definition, written down again; and what files may say of it."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.conditions import Conditions
from cmd_tune.search.spaces.constraints import parse_constraint
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.settings import make_settings

QUICK = make_settings("quick").model_dump()
NAMES = ("layers", "frames", "topk", "queue_size")
CHAIN = {
    "objective": {"values": ["mcl", "cmd"]},
    "topk": {"values": [8, 16], "when": "objective == 'cmd'"},
    "distill_weight": {"values": [0.5, 1.0], "when": "topk == 16"},
}


def parameters(when):
    return {
        name: Parameter(name, "int_uniform", 1, 9, 1, when=parse_constraint(text) if text else None)
        for name, text in when.items()
    }


def test_what_does_not_count_has_the_value_of_the_settings():
    chain = Conditions(parameters({"topk": "layers > 2", "frames": "topk > 4", "layers": ""}))
    assert chain.order == ("layers", "topk", "frames")
    assert chain.conditional == ("topk", "frames")
    whole = {"layers": 3, "topk": 5, "frames": 7}
    assert chain.reduced(whole, {"topk": 1}) == whole
    assert chain.reduced({**whole, "layers": 2}, {"topk": 1}) == {"layers": 2}
    assert chain.reduced({**whole, "layers": 2}, {"topk": 9}) == {"layers": 2, "frames": 7}  # by the settings' topk
    assert chain.reduced({**whole, "topk": 4}, {"topk": 9}) == {"layers": 3, "topk": 4}
    assert chain.counting({"layers": 3}, {"topk": 1}) == ["layers", "topk"]
    assert chain.reduced({"layers": 2, "topk": 5, "frames": 7}, {}) == {"layers": 2, "frames": 7}  # nothing known


def test_conditions_in_a_circle_are_refused():
    with pytest.raises(ValueError, match=r"the conditions of topk, frames speak of each other in a circle"):
        Conditions(parameters({"layers": "", "topk": "frames > 1", "frames": "topk > 1"}))


def test_what_decides_is_found_through_other_conditions():
    chain = Conditions(parameters({"topk": "layers > 2", "frames": "topk > 4 and batch_size > 8", "layers": ""}))
    assert chain.deciding({"frames"}) == {"frames", "topk", "batch_size", "layers"}
    assert chain.deciding({"layers", "hidden_size"}) == {"layers", "hidden_size"}


@st.composite
def forests(draw):
    """Up to four parameters of three values, each with a condition on one before it, or none; and constraints."""
    names = NAMES[: draw(st.integers(2, 4))]
    spec = {}
    for index, name in enumerate(names):
        spec[name] = {"values": sorted(draw(st.sets(st.integers(1, 9), min_size=1, max_size=3)))}
        if index and draw(st.booleans()):
            other = draw(st.sampled_from(names[:index]))
            spec[name]["when"] = f"{other} {draw(st.sampled_from(['>', '==', '<=']))} {draw(st.integers(1, 9))}"
    rules = [f"{a} + {b} {sign} {draw(st.integers(2, 14))}"
             for a, b in product(names, names[:1]) if a != b
             for sign in [draw(st.sampled_from([">=", "<", "!="]))] if draw(st.booleans())]  # fmt: skip
    return spec, rules


@given(forests(), st.integers(0, 3))
def test_a_space_is_drawn_whole_and_nothing_else(forest, seed):
    """Every configuration that the definition allows, once each: rejection by boxes loses none and repeats none."""
    from cmd_tune.search.spaces.region import Region

    spec, rules = forest
    whole = {**QUICK, "layers": 2, "frames": 5, "topk": 1, "queue_size": 9}
    space = {
        name: Parameter(name, "categorical", choices=tuple(keys["values"]),
                        when=parse_constraint(keys["when"]) if "when" in keys else None)
        for name, keys in spec.items()
    }  # fmt: skip
    constraints = [parse_constraint(rule) for rule in rules]

    def by_definition(drawn):
        values = dict(whole)
        kept = {}
        for name, keys in spec.items():  # each condition speaks of one before
            if "when" not in keys or eval(keys["when"], {}, values):  # noqa: S307  (of this file)
                values[name] = kept[name] = drawn[name]
        good = all(eval(rule, {}, values) for rule in rules) and values["topk"] <= values["queue_size"]  # noqa: S307
        return kept if good else None

    combined = (dict(zip(spec, values, strict=True)) for values in product(*(keys["values"] for keys in spec.values())))
    expected = {frozenset(kept.items()) for values in combined if (kept := by_definition(values)) is not None}

    region, seen = Region(space, constraints, whole, lambda values: True, str(seed)), []
    while (values := region.draw(lambda values: values in seen)) is not None:
        seen.append(values)
    assert region.exhausted
    assert len(seen) == len(expected)
    assert {frozenset(values.items()) for values in seen} == expected


def test_a_range_that_does_not_count_does_not_keep_a_space_from_its_end(make_space):
    space = make_space(
        parameters={"objective": {"values": ["mcl", "cmd"]}, "layers": {"values": [1, 2]},
                    "distill_weight": {"min": 0.1, "max": 2.0, "when": "objective == 'cmd'"}},
        points_to_evaluate=None,
    )  # fmt: skip
    space = replace(space, constraints=(parse_constraint("objective == 'mcl' or distill_weight > 2"),))
    region, seen = space.region(QUICK, "0"), []
    while (values := region.draw(lambda values: values in seen)) is not None:
        seen.append(values)
    assert region.exhausted
    assert sorted(values["layers"] for values in seen) == [1, 2]
    assert {tuple(values) for values in seen} == {("objective", "layers")}


def test_a_constraint_on_what_does_not_count_is_met_by_the_settings(make_space):
    """Where topk does not count it is 32, as the preset has it, and not what was drawn."""
    space = make_space(
        parameters={"objective": {"values": ["mcl", "cmd"]},
                    "topk": {"min": 1, "max": 20, "when": "objective == 'cmd'"}},
        constraints=["topk <= 20"], points_to_evaluate=None,
    )  # fmt: skip
    assert {space.region(QUICK, str(seed)).draw()["objective"] for seed in range(20)} == {"cmd"}
    assert {space.region({**QUICK, "topk": 20}, str(seed)).draw()["objective"] for seed in range(20)} == {"cmd", "mcl"}


def test_the_cells_of_a_grid_are_each_there_once(make_space):
    space = make_space(method="grid", parameters=CHAIN, points_to_evaluate=None, budget=None)
    assert space.cells(QUICK) == [
        {"objective": "mcl"},
        {"objective": "cmd", "topk": 8},
        {"objective": "cmd", "topk": 16, "distill_weight": 0.5},
        {"objective": "cmd", "topk": 16, "distill_weight": 1.0},
    ]
    assert len(space.cells({**QUICK, "topk": 16})) == 5  # beside mcl the settings' topk lets distill_weight count


def test_the_values_that_settings_take_together_are_those_that_count(make_space):
    space = make_space(parameters=CHAIN, points_to_evaluate=None)
    assert space.variants(QUICK, ("objective", "topk")) == [
        {"objective": "mcl"},
        {"objective": "cmd", "topk": 8},
        {"objective": "cmd", "topk": 16},
    ]
    assert space.variants(QUICK, ("topk",)) == [{"topk": 8}, {"topk": 16}, {}]


@pytest.mark.parametrize(
    ("keys", "place", "said"),
    [
        ({"topk": "{values: [8, 16], when: objective}"}, "parameters.topk.when", "is not true or false"),
        ({"topk": "{values: [8, 16], when: object == 'cmd'}"}, "parameters.topk.when", "unknown setting 'object'"),
        ({"topk": "{values: [8, 16], when: layers > 1}"}, "parameters.topk.when", "speaks of no other searched"),
        ({"topk": "{values: [8, 16], when: topk > 1}"}, "parameters.topk.when", "speaks of no other searched"),
        ({"layers": "{value: 2}", "topk": "{values: [8, 16], when: layers > 1}"}, "parameters.topk.when",
         "layers > 1 speaks of no other searched parameter"),
        ({"topk": "{values: [8, 16], when: objective == 'base'}"}, "parameters.topk.when",
         "'objective == 'base'' never holds, so that no trial searches topk; change it, or remove topk"),
        ({"layers": "{min: 1, max: 3}", "topk": "{values: [8, 16], when: layers / 2 > 1.5}"}, "parameters.topk.when",
         "never holds"),
        ({"layers": "{min: 1, max: 3}", "topk": "{values: [8, 16], when: layers < 4}"}, "parameters.topk.when",
         "always holds, so that topk counts in every trial; change or remove it"),
        ({"topk": "{value: 8, when: objective == 'cmd'}"}, "parameters.topk.when", "does not go with constant"),
        ({"topk": "{values: [8, 16], when: distill_weight > 1}",
          "distill_weight": "{min: 0.1, max: 2.0, when: topk > 8}"}, "parameters", "in a circle"),
    ],
)  # fmt: skip
def test_a_condition_that_means_nothing_is_refused(load, check_mistake, keys, place, said):
    spec = ", ".join(f"{name}: {text}" for name, text in {"objective": "{values: [mcl, cmd]}", **keys}.items())
    check_mistake(load, {"parameters": f"{{{spec}}}"}, place, said)


def test_a_condition_is_held_against_the_constraints_and_the_settings(make_space):
    spec = {"layers": {"values": [1, 2]}, "topk": {"values": [8, 16], "when": "layers == 1"}}
    with pytest.raises(UsageError, match=r"parameters\.topk\.when: 'layers == 1' never holds, so that no trial"):
        make_space(parameters=spec, constraints=["layers > 1"], points_to_evaluate=None)
    with pytest.raises(UsageError, match=r"parameters\.topk\.when: 'layers == 1' always holds, so that topk"):
        make_space(parameters=spec, constraints=["layers < 2"], points_to_evaluate=None)
    spec["topk"]["when"] = "layers == 1 and objective == 'mcl'"
    space = make_space(parameters=spec, points_to_evaluate=None)
    space.check_possible({**QUICK, "objective": "mcl"})
    with pytest.raises(UsageError, match="never holds, so that no trial searches topk"):
        space.check_possible({**QUICK, "objective": "cmd"})
    spec["topk"]["when"] = "layers == 1 or objective == 'mcl'"  # an own matter of the run's settings
    make_space(parameters=spec, points_to_evaluate=None).check_possible({**QUICK, "objective": "mcl"})


def test_a_condition_that_cannot_be_computed_does_not_hold(make_space):
    """With one layer 8 / 0 decides: topk does not count there, nor does the condition's opposite fail to hold."""
    space = make_space(
        parameters={"layers": {"values": [1, 2, 3]}, "topk": {"values": [8], "when": "8 / (layers - 1) > 2"}},
        points_to_evaluate=None,
    )
    assert space.variants(QUICK, ("topk",)) == [{"topk": 8}, {}]
    region, seen = space.region(QUICK, "0"), []
    while (values := region.draw(lambda values: values in seen)) is not None:
        seen.append(values)
    assert region.exhausted
    assert sorted(seen, key=str) == [{"layers": 1}, {"layers": 2, "topk": 8}, {"layers": 3, "topk": 8}]


@pytest.mark.parametrize("method", ["gp", "cmaes", "qmc"])
def test_methods_of_one_space_for_all_trials_take_no_condition(load, check_mistake, method):
    spec = "{layers: {min: 1, max: 3}, topk: {min: 8, max: 16, when: layers > 1}}"
    check_mistake(
        load, {"method": method, "parameters": spec}, "parameters.topk.when", f"does not go with method {method}"
    )


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"objective": "cmd"}, "points_to_evaluate[0]: lacks topk, which counts here; add it"),
        ({"objective": "mcl", "topk": 8},
         "points_to_evaluate[0].topk: does not count here, since objective == 'cmd' does not hold; remove it"),
        ({"topk": 8}, "points_to_evaluate[0]: lacks objective; a start point gives every searched parameter a value"),
    ],
)  # fmt: skip
def test_a_start_point_has_what_counts_and_nothing_else(make_space, point, said):
    two = {name: CHAIN[name] for name in ("objective", "topk")}
    with pytest.raises(UsageError) as caught:
        make_space(parameters=two, points_to_evaluate=[point]).check(QUICK)
    (line,) = caught.value.lines
    assert line.endswith(said)
    good = make_space(parameters=two, points_to_evaluate=[{"objective": "mcl"}, {"objective": "cmd", "topk": 8}])
    good.check(QUICK)
    assert good.start_points == ({"objective": "mcl"}, {"objective": "cmd", "topk": 8})
