"""YAML as a person reads it: the one reader and the one writer of this package, of plain values alone.

PyYAML follows YAML 1.1, to which 010 is 8, 1:30 is 90, 1e-3 a text, no a truth value and 2024-01-01 a date. Here
numbers are Python's, true and false the only truth values, and the rest is text. Text that other
programs read differently (010) is refused, as is a key that is written twice.
"""

import re
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import yaml

from cmd_tune.errors import usage_error

_INT, _FLOAT, _BOOL, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null", "merge"))
_DIGITS = list("-+.0123456789")
_PATTERNS = (
    (_INT, r"[-+]?(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*)", list("-+0123456789")),
    (_FLOAT, r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?", _DIGITS),
    (_FLOAT, r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", _DIGITS),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_MERGE, r"<<", ["<"]),
)


class _Unclear(yaml.MarkedYAMLError):
    """Raised for YAML that can be read in more than one way."""


class _Loader(yaml.SafeLoader):
    """safe_load, with this module's rules."""

    yaml_constructors = {  # noqa: RUF012  (filled below; dates, sets and bytes are no plain values)
        tag: build
        for tag, build in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "str", "seq", "map")
    }
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  (PyYAML's own way: filled below, never shared)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in seen:
                    raise _Unclear(None, None, f"'{key.value}' is written twice; keep one", key.start_mark)
                seen.add((key.tag, key.value))
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        try:
            return int(text, 0)
        except ValueError:
            why = "is no number"
            if octal := re.fullmatch(r"([-+]?)0+([1-9][0-9_]*)", text):
                why = f"is octal to some and decimal to others; write {octal[1]}{octal[2]}"
            raise _Unclear(None, None, f"{shortened(text)} {why}", node.start_mark) from None

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> bool:
        text = str(self.construct_scalar(node))
        if text.lower() not in ("true", "false"):
            raise _Unclear(None, None, f"{shortened(text)} is neither true nor false", node.start_mark)
        return text.lower() == "true"

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        text = str(self.construct_scalar(node)).lower()
        try:
            return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise _Unclear(None, None, f"'{text}' is no number", node.start_mark) from None


class _Dumper(yaml.SafeDumper):
    """safe_dump, which also quotes texts that are numbers to this module's reader."""


for _tag, _pattern, _first in _PATTERNS:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor(_INT, _Loader.construct_yaml_int)
_Loader.add_constructor(_BOOL, _Loader.construct_yaml_bool)
_Loader.add_constructor(_FLOAT, _Loader.construct_yaml_float)


def parse_yaml(text: str, where: str) -> Any:
    """A YAML text as plain values. Raises UsageError in one line that starts with `where`."""
    return _parsed(text, where, lines=False)


def read_yaml(path: Path) -> Any:
    """A YAML file as plain values. Raises UsageError in one line that starts with its name."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise usage_error(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8"
        raise usage_error(str(path), f"is not YAML text: {reason}") from None
    return _parsed(text, str(path), lines=True)


def dump_yaml(content: Any) -> str:
    """Plain values as YAML that this module and YAML 1.1 read alike, mappings in their own order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False)


def _parsed(text: str, where: str, *, lines: bool) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark and lines else ""
        cure = "" if isinstance(error, _Unclear) else "; not YAML, correct it there"
        raise usage_error(where, f"{line}{error.problem or error.context}{cure}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise usage_error(where, f"is not YAML text: {error}") from None
