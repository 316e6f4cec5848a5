"""Constraints of a space file: small expressions over settings, such as `topk <= queue_size`.

Only the operators and functions that are listed here are understood. An expression is parsed, checked once when the
file is read, and walked for each configuration; its text is never run as Python.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_origin

from cmd_tune.errors import did_you_mean
from cmd_tune.settings import Settings

_Kind = Literal["number", "text", "list", "comparison"]

_LONGEST, _DEEPEST = 500, 50  # characters; levels of nesting
_EXPONENT, _BITS = 64, 1024  # `**` stops here, before it takes time or memory

_GRAMMAR = "use settings, numbers, comparisons, + - * / // % **, and, or, not, min, max, abs"


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > _EXPONENT or (isinstance(base, int) and abs(base.bit_length() * exponent) > _BITS):
        raise OverflowError("the power is too large")
    power = base**exponent
    if isinstance(power, complex):
        raise ArithmeticError("a fractional power of a negative number")
    return power


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


@dataclass(frozen=True)
class Constraint:
    """One expression, checked, with its `tree`. `names`: the settings it speaks of. opposite: met where it is not."""

    text: str
    names: frozenset[str]
    tree: ast.expr = field(repr=False, compare=False)
    opposite: bool = False

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a configuration that has all `names` meets it. An expression that cannot be computed is false."""
        try:
            return bool(evaluate(self.tree, values)) is not self.opposite
        except ArithmeticError:
            return self.opposite


def parse_constraint(text: Any) -> Constraint:
    """Read one expression. Raises ValueError, in one line, if it is none."""
    if not isinstance(text, str):
        raise ValueError(f"should be an expression such as 'topk <= queue_size'; found {type(text).__name__}")
    if len(text) > _LONGEST:
        raise ValueError(f"has {len(text)} characters; split it into several of at most {_LONGEST}")
    text = " ".join(text.split())
    try:
        return _parse(text)
    except ValueError as error:
        raise ValueError(f"'{text}': {error}") from None


def negation(constraint: Constraint) -> Constraint:
    """What holds where the constraint does not, also where that cannot be computed."""
    return replace(constraint, text=f"not ({constraint.text})", opposite=not constraint.opposite)


def _parse(text: str) -> Constraint:
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        place = f" at character {error.offset}" if error.offset else ""
        raise ValueError(f"cannot be read{place}, {error.msg}; {_GRAMMAR}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ValueError(f"cannot be read; {_GRAMMAR}") from None
    check = _Check()
    if check.kind(tree) != "comparison":
        raise ValueError("is not true or false; compare it with something, such as 'topk <= queue_size'")
    if not check.names:
        raise ValueError("speaks of no setting; remove it")
    return Constraint(text, frozenset(check.names), tree)


class _Check:
    """Checks an expression: every name is known, and every operand is of a kind that its operator takes."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def kind(self, node: ast.expr, depth: int = 0) -> _Kind:
        if depth > _DEEPEST:
            raise ValueError(f"is nested more than {_DEEPEST} deep; split it into several")

        def need(wanted: _Kind, *operands: ast.expr) -> _Kind:
            for operand in operands:
                kind = self.kind(operand, depth + 1)
                if kind != wanted:
                    raise ValueError(f"{ast.unparse(operand)} is a {kind} where a {wanted} belongs; {_GRAMMAR}")
            return wanted

        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return "number"
            case ast.Constant(value=str()):
                return "text"
            case ast.Name(id=name):
                return self._kind_of_setting(name)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return need("comparison", operand)
            case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _SIGNS:
                return need("number", operand)
            case ast.BoolOp(values=operands):
                return need("comparison", *operands)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
                need("number", left, right)
                self._computable(node)
                return "number"
            case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
                ordered = any(not isinstance(op, ast.Eq | ast.NotEq) for op in ops)
                need(self._comparable(left, depth, ordered), *rest)
                return "comparison"
            case ast.Call(func=ast.Name(id=name), args=operands, keywords=[]) if name in FUNCTIONS:
                if (len(operands) == 1) != (name == "abs"):
                    raise ValueError(f"{name} takes {'one number' if name == 'abs' else 'two numbers or more'}")
                return need("number", *operands)
        raise ValueError(f"{_what(node)} is not allowed; {_GRAMMAR}")

    def _kind_of_setting(self, name: str) -> _Kind:
        if name not in Settings.model_fields:
            raise ValueError(f"unknown setting '{name}', {did_you_mean(name, Settings.model_fields)}")
        self.names.add(name)
        annotation = Settings.model_fields[name].annotation
        if annotation in (int, float):
            return "number"
        return "text" if get_origin(annotation) is Literal else "list"

    def _comparable(self, operand: ast.expr, depth: int, ordered: bool) -> _Kind:
        """The kind of a comparison's first operand: any but a list may equal another, numbers alone are ordered."""
        kind = self.kind(operand, depth + 1)
        if kind == "list" or (ordered and kind != "number"):
            raise ValueError(f"{ast.unparse(operand)} is a {kind} where a number belongs; {_GRAMMAR}")
        return kind

    def _computable(self, node: ast.BinOp) -> None:
        """Arithmetic on numbers alone has a result, and an exponent is such arithmetic: no trial meets 9**9**9."""
        if isinstance(node.op, ast.Pow) and _has_names(node.right):
            raise ValueError(f"the exponent {ast.unparse(node.right)} must be a number of at most {_EXPONENT}")
        try:
            if isinstance(node.op, ast.Pow) and abs(evaluate(node.right, {})) > _EXPONENT:
                raise OverflowError(f"an exponent may be {_EXPONENT} at most")
            if not _has_names(node):
                evaluate(node, {})
        except ArithmeticError as error:
            raise ValueError(f"{ast.unparse(node)} cannot be computed: {error}") from None


def _has_names(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id not in FUNCTIONS for inner in ast.walk(node))


def _what(node: ast.expr) -> str:
    """The words of an error for a kind of expression that is not understood."""
    if isinstance(node, ast.Constant):
        return f"the value {node.value!r}"
    if isinstance(node, ast.Compare | ast.BinOp | ast.UnaryOp):
        operators = node.ops if isinstance(node, ast.Compare) else [node.op]
        return "the operator " + ", ".join(type(op).__name__ for op in operators)
    return f"an expression of type {type(node).__name__}"


def evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of a checked expression. Raises ArithmeticError if it has none."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not evaluate(operand, values)
        case ast.UnaryOp(op=sign, operand=operand):
            return _SIGNS[type(sign)](evaluate(operand, values))
        case ast.BoolOp(op=ast.And(), values=operands):
            return all(evaluate(operand, values) for operand in operands)
        case ast.BoolOp(values=operands):
            return any(evaluate(operand, values) for operand in operands)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](evaluate(left, values), evaluate(right, values))
        case ast.Compare(left=left, ops=ops, comparators=rest):
            before = evaluate(left, values)
            for comparison, operand in zip(ops, rest, strict=True):
                after = evaluate(operand, values)
                if not _COMPARISONS[type(comparison)](before, after):
                    return False
                before = after
            return True
        case ast.Call(func=ast.Name(id=name), args=operands):
            return FUNCTIONS[name](*(evaluate(operand, values) for operand in operands))
    raise AssertionError(f"unchecked {type(node).__name__}")
