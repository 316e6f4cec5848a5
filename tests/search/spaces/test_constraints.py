"""Constraints: the same answers as Python, and nothing but comparisons of settings gets in."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmd_tune.search.spaces.bounds import can_hold
from cmd_tune.search.spaces.constraints import parse_constraint
from cmd_tune.settings import Settings

VALUES: dict[str, Any] = {
    "topk": 4,
    "queue_size": 16,
    "teacher_temperature": 0.05,
    "student_temperature": 0.1,
    "key_momentum": 1.0,
    "optimizer": "adamw",
}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("topk <= queue_size", True),
        ("topk == queue_size / 4", True),
        ("2 + 3 * topk == 14", True),
        ("-topk ** 2 == -16", True),
        ("2 ** 3 ** 2 == 512 and topk", None),
        ("2 ** 3 ** 2 == 512 and topk > 0", True),
        ("queue_size - topk - 2 == 10", True),
        ("-queue_size // 5 == -4 and topk > 0", True),
        ("-queue_size % 5 == 4", True),
        ("1 < topk < 4", False),
        ("1 < topk <= 4 < queue_size", True),
        ("topk > 4 or queue_size > 4 and topk > 3", True),
        ("not topk > 4 and topk > 3", True),
        ("not (topk > 3 or queue_size > 3)", False),
        ("min(topk, queue_size, 3) == 3", True),
        ("max(topk, queue_size) == 16", True),
        ("abs(topk - queue_size) == 12", True),
        ("optimizer == 'adamw'", True),
        ("optimizer != 'sgd'", True),
        ("teacher_temperature < student_temperature", True),
        ("(topk < 5) == (queue_size < 5)", False),
        ("topk <=\n  queue_size", True),
        # What has no value does not hold, either way round; nor is it looked at where it does not matter.
        ("topk / (1 - key_momentum) > 0", False),
        ("not topk / (1 - key_momentum) > 0", False),
        ("(topk - queue_size) ** 0.5 < 9", False),
        ("key_momentum == 1 or topk / (1 - key_momentum) > 0", True),
        ("((queue_size ** 64) ** 64) > 0", False),
    ],
)
def test_answers(text: str, answer: bool | None) -> None:
    if answer is None:
        with pytest.raises(ValueError, match="topk is a number where a comparison belongs"):
            parse_constraint(text)
    else:
        assert parse_constraint(text).holds(VALUES) is answer


def test_names_are_those_of_settings_alone() -> None:
    assert parse_constraint("min(topk, 3) < abs(queue_size)").names == {"topk", "queue_size"}


# A piece of an expression, with the Python function that it should be the same as.
Piece = tuple[str, Callable[[Mapping[str, Any]], Any]]

ARITHMETIC = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
NUMBERS = ("topk", "queue_size", "teacher_temperature", "student_temperature")


def setting(name: str) -> Piece:
    return name, lambda values: values[name]


def power(base: Piece, exponent: int) -> Piece:
    return f"{base[0]} ** {exponent}", lambda values: base[1](values) ** exponent


def joined(left: Piece, sign: str, right: Piece) -> Piece:
    return f"({left[0]} {sign} {right[0]})", lambda values: ARITHMETIC[sign](left[1](values), right[1](values))


def called(name: str, left: Piece, right: Piece) -> Piece:
    function = {"min": min, "max": max}[name]
    return f"{name}({left[0]}, {right[0]})", lambda values: function(left[1](values), right[1](values))


def compared(left: Piece, first: str, middle: Piece, second: str, right: Piece) -> Piece:
    def answer(values: Mapping[str, Any]) -> bool:
        a, b = left[1](values), middle[1](values)
        return COMPARISONS[first](a, b) and COMPARISONS[second](b, right[1](values))

    return f"({left[0]} {first} {middle[0]} {second} {right[0]})", answer


def both(left: Piece, right: Piece) -> Piece:
    return f"({left[0]} and {right[0]})", lambda values: left[1](values) and right[1](values)


def either(left: Piece, right: Piece) -> Piece:
    return f"({left[0]} or {right[0]})", lambda values: left[1](values) or right[1](values)


def negated(piece: Piece) -> Piece:
    return f"(not {piece[0]})", lambda values: not piece[1](values)


settings_pieces = st.sampled_from(NUMBERS).map(setting)
leaves = st.one_of(
    settings_pieces,
    st.integers(0, 20).map(lambda number: (str(number), lambda values: number)),
    st.builds(power, settings_pieces, st.integers(-3, 3)),
)
numbers = st.recursive(
    leaves,
    lambda inner: st.one_of(
        # A setting on the left: numbers alone without a result (3 / 0) are refused when read.
        st.builds(joined, settings_pieces, st.sampled_from(sorted(ARITHMETIC)), inner),
        st.builds(called, st.sampled_from(["min", "max"]), inner, inner),
    ),
    max_leaves=6,
)
signs = st.sampled_from(sorted(COMPARISONS))
comparisons = st.builds(compared, settings_pieces, signs, numbers, signs, numbers)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(st.builds(both, inner, inner), st.builds(either, inner, inner), st.builds(negated, inner)),
    max_leaves=4,
)


@given(
    expressions.filter(lambda piece: len(piece[0]) <= 500),
    st.fixed_dictionaries(
        {
            "topk": st.integers(1, 20),
            "queue_size": st.integers(1, 20000),
            "teacher_temperature": st.floats(0.01, 1),
            "student_temperature": st.sampled_from([0.05, 0.1, 1.0]),
        }
    ),
)
def test_agrees_with_python(piece: Piece, values: dict[str, Any]) -> None:
    text, python = piece
    try:
        expected = bool(python(values))
    except ArithmeticError:
        expected = False
    assert parse_constraint(text).holds(values) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os').system('true')", "Call is not allowed"),
        ("topk.__class__ == 1", "Attribute is not allowed"),
        ("(lambda: topk)() > 1", "Call is not allowed"),
        ("topk > (lambda: 1)", "Lambda is not allowed"),
        ("min([k for k in (1, 2)], topk) > 1", "ListComp is not allowed"),
        ("f'{topk}' == 'a'", "JoinedStr is not allowed"),
        ("topk[0] == 1", "Subscript is not allowed"),
        ("(topk := 3) > 1", "NamedExpr is not allowed"),
        ("topk > 1 if topk else topk < 1", "IfExp is not allowed"),
        ("(topk, 1) == (1, 1)", "Tuple is not allowed"),
        ("topk < 1j", "1j is not allowed"),
        ("topk == None", "None is not allowed"),
        ("topk == True", "True is not allowed"),
        ("topk << 4 > 1", "LShift is not allowed"),
        ("~topk > 1", "Invert is not allowed"),
        ("topk in queue_size", "In is not allowed"),
        ("topk is queue_size", "Is is not allowed"),
        ("min(topk, key=abs) > 1", "Call is not allowed"),
        ("min(*topk) > 1", "min takes two numbers or more"),
        ("max(topk) > 1", "max takes two numbers or more"),
        ("abs(topk, 1) > 1", "abs takes one number"),
        ("eval('1') < topk", "Call is not allowed"),
        ("topk < 9**9**9", "cannot be computed"),
        ("topk < 9**9**9**9", "cannot be computed"),
        ("9**65 > topk", "64 at most"),
        ("topk ** queue_size > 1", "the exponent queue_size must be a number of at most 64"),
        ("topk < ((99**64)**64)**64", "cannot be computed"),
        ("topk > 1 / 0", "cannot be computed: division by zero"),
        ("topk > (-1) ** 0.5", "cannot be computed"),
        ("'a' * 1000000000 == optimizer", "'a' is a text where a number belongs"),
        ("optimizer < 'sgd'", "optimizer is a text where a number belongs"),
        ("optimizer == 3", "3 is a number where a text belongs"),
        ("modalities == modalities", "modalities is a list where a number belongs"),
        ("topk + (topk < 3) > 1", "topk < 3 is a comparison where a number belongs"),
        ("topk and queue_size", "topk is a number where a comparison belongs"),
        ("topk", "is not true or false; compare it"),
        ("queue_size - topk", "is not true or false; compare it"),
        ("1 < 2", "speaks of no setting"),
        ("topk <= quue_size", "unknown setting 'quue_size', did you mean 'queue_size'?"),
        ("min < topk", "unknown setting 'min'"),
        ("topk <= ", "cannot be read"),
        ("topk < 3; topk > 1", "cannot be read"),
        ("", "cannot be read"),
        ("import os", "cannot be read"),
        ("topk < 3\0", "cannot be read"),
        ("(" * 240 + "topk" + ")" * 240 + " > 1", "too many nested parentheses"),
        ("-" * 490 + "topk > 1", "nested more than 50 deep"),
        ("topk" + " + 1" * 100 + " > 1", "nested more than 50 deep"),
        ("topk > " + "9" * 500, "at most 500"),
        (3, "found int"),
        ({"topk": 3}, "found dict"),
    ],
)
def test_refuses_in_one_line(text: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_constraint(text)
    message = str(caught.value)
    assert said in message
    assert len(message.splitlines()) == 1


@given(st.text(max_size=60) | st.text("topk<>=()+-*/%0123456789. andorqueue_size,'", max_size=60))
def test_any_text_is_a_constraint_or_one_line(text: str) -> None:
    message = ""
    try:
        parse_constraint(text).holds(Settings().model_dump())
    except ValueError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


def inside(low: float, high: float, part: float) -> float:
    return min(max(low + part * (high - low), low), high)


@given(
    expressions.filter(lambda piece: len(piece[0]) <= 500),
    *(st.lists(st.integers(1, 300), min_size=2, max_size=2).map(sorted) for _ in range(2)),
    *(st.lists(st.floats(0.01, 1), min_size=2, max_size=2).map(sorted) for _ in range(2)),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_a_constraint_that_holds_somewhere_in_a_range_can_hold_there(
    piece: Piece, topk: Any, queue_size: Any, teacher: Any, student: Any, parts: list[float]
) -> None:
    ranges = dict(zip(NUMBERS, map(tuple, (topk, queue_size, teacher, student)), strict=True))
    constraint = parse_constraint(piece[0])
    values = {name: inside(*span, part) for (name, span), part in zip(ranges.items(), parts, strict=True)}
    values |= {name: round(values[name]) for name in ("topk", "queue_size")}
    assert can_hold(constraint, ranges) >= constraint.holds(values)
