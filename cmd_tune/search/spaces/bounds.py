"""Interval arithmetic on constraints: whether one is true, false, or either over a range of configurations.

The bounds of a setting are its lowest and highest number, or the set of its texts. They hold for every configuration of
the range, but need not be tight: "either" may be true, or false, for all of them.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from itertools import product
from math import inf, isnan
from typing import Any

from cmd_tune.search.spaces.constraints import FUNCTIONS, Constraint, evaluate

Numbers = tuple[float, float]  # the lowest and the highest
Words = frozenset[Any]  # texts or truth values
Bounds = Numbers | Words

_ANYTHING: Numbers = (-inf, inf)
_TRUE, _FALSE, _EITHER = frozenset([True]), frozenset([False]), frozenset([True, False])
_MONOTONE = (ast.Add, ast.Sub, ast.Mult, ast.Div)  # extreme at the ends of both operands; rounding keeps the order


def can_hold(constraint: Constraint, bounds: Mapping[str, Bounds]) -> bool:
    """Whether a configuration within the bounds may meet the constraint; False if certainly none does."""
    return True in truths(constraint, bounds)


def truths(constraint: Constraint, bounds: Mapping[str, Bounds]) -> frozenset[bool]:
    """What the constraint may be within the bounds: true, false, or either."""
    found: frozenset[bool] = _bounds(constraint.tree, bounds)
    if False not in found and not _computable(constraint.tree, bounds):
        found |= _FALSE
    return frozenset(truth is not constraint.opposite for truth in found)


def either(a: Bounds, b: Bounds) -> Bounds:
    """The bounds of a setting that lies within one or the other. Raises TypeError for numbers beside texts."""
    if isinstance(a, frozenset) and isinstance(b, frozenset):
        return a | b
    if isinstance(a, tuple) and isinstance(b, tuple):
        return min(a[0], b[0]), max(a[1], b[1])
    raise TypeError("numbers have no common bounds with texts")


def _computable(tree: ast.expr, of: Mapping[str, Bounds]) -> bool:
    """Whether every sum, product, quotient and power in it certainly has a value, wherever in the bounds."""
    return all(
        _arithmetic(node.op, _bounds(node.left, of), _bounds(node.right, of)) != _ANYTHING
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp)
    )


def _bounds(node: ast.expr, of: Mapping[str, Bounds]) -> Any:
    match node:
        case ast.Constant(value=str() as text):
            return frozenset([text])
        case ast.Constant(value=value):
            return value, value
        case ast.Name(id=name):
            return of[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return frozenset(not truth for truth in _bounds(operand, of))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            low, high = _bounds(operand, of)
            return -high, -low
        case ast.UnaryOp(operand=operand):
            return _bounds(operand, of)
        case ast.BoolOp(op=op, values=operands):
            known = [_bounds(operand, of) for operand in operands]
            decisive = isinstance(op, ast.Or)
            if any(truths == frozenset([decisive]) for truths in known):
                return frozenset([decisive])
            return _EITHER if any(decisive in truths for truths in known) else frozenset([not decisive])
        case ast.BinOp(left=left, op=op, right=right):
            return _arithmetic(op, _bounds(left, of), _bounds(right, of))
        case ast.Compare(left=left, ops=ops, comparators=rest):
            sides = [_bounds(operand, of) for operand in (left, *rest)]
            truths = [_comparison(op, a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False)]
            if _FALSE in truths:
                return _FALSE
            return _EITHER if _EITHER in truths else _TRUE
        case ast.Call(func=ast.Name(id="abs"), args=[operand]):
            low, high = _bounds(operand, of)
            return max(0, low, -high), max(-low, high)
        case ast.Call(func=ast.Name(id=name), args=operands):
            ends = zip(*(_bounds(operand, of) for operand in operands), strict=True)
            return tuple(FUNCTIONS[name](end) for end in ends)
    raise AssertionError(f"unchecked {type(node).__name__}")


def _arithmetic(op: ast.operator, a: Numbers, b: Numbers) -> Numbers:
    exact = a[0] == a[1] and b[0] == b[1]
    if not exact and not (isinstance(op, _MONOTONE) or (isinstance(op, ast.Pow) and a[0] >= 0)):
        return _ANYTHING
    if isinstance(op, ast.Div) and b[0] <= 0 <= b[1]:
        return _ANYTHING
    try:
        ends = [evaluate(ast.BinOp(ast.Constant(x), op, ast.Constant(y)), {}) for x, y in product(a, b)]
    except ArithmeticError:
        return _ANYTHING
    if any(isnan(end) for end in ends):
        return _ANYTHING
    return min(ends), max(ends)


def _comparison(op: ast.cmpop, a: Bounds, b: Bounds) -> frozenset[bool]:
    if isinstance(op, ast.NotEq):
        return frozenset(not truth for truth in _comparison(ast.Eq(), a, b))
    if isinstance(a, frozenset) or isinstance(b, frozenset):
        assert isinstance(a, frozenset)
        assert isinstance(b, frozenset)
        return frozenset(x == y for x, y in product(a, b))
    if isinstance(op, ast.Eq):
        if a[1] < b[0] or b[1] < a[0]:
            return _FALSE
        return _TRUE if a[0] == a[1] == b[0] == b[1] else _EITHER
    if isinstance(op, ast.Gt | ast.GtE):
        a, b, op = b, a, ast.Lt() if isinstance(op, ast.Gt) else ast.LtE()
    before: Callable[[Any, Any], bool] = operator.lt if isinstance(op, ast.Lt) else operator.le
    if before(a[1], b[0]):
        return _TRUE
    return _EITHER if before(a[0], b[1]) else _FALSE
