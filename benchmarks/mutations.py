"""Makes inputs wrong at random: bytes, texts of YAML, CSV and JSON, words of a command line, values in containers."""

import random
import re
import string
from collections.abc import Sequence
from typing import Any

import torch

from cmd_tune.yaml_files import dump_yaml, parse_yaml

_TOKEN = re.compile(r"[\w.+/%-]+")
# What is at an edge for some reader: of numbers, texts, YAML's own marks, and names of functions.
NASTY = (
    "", "null", "~", "true", "-1", "0", "1", "0.5", "1e400", "1e-320", "nan", ".nan", ".inf", "-.inf", "9" * 30, "010",
    "0x", "1:30", "2024-01-01", "[]", "{}", "[[]]", "[1, 2]", "{a: 1, a: 2}", "'", '"', "*a", "&a b", "&a [*a]", "? ",
    "|", ">", "\t", "\x00", "\x1b[31m", "é", "\u2028", "x" * 3000, "[" * 600, "<<", "a: b", "- ", "---", "...",
    "%YAML 9", "!!python/object/apply:os.system [id]", "!!python/name:os.system", "!!binary aGk=", "!!set {a}",
    "!local x", "%s", "{0.__class__}", "None", "../..", "~nobody/x", ",", ":", "#", "=", "--", "1,2", "١٢", "1_000",
)  # fmt: skip
# What a reader of plain values may find in the place of another.
PLAIN: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2, 2**70, 0.5, 1e-300, 1e300, float("nan"), float("inf"), "", "x", "a b", "\n", "joint", [],
    [None], [[1]], ["x"], [1, 2, 3], {}, {"a": 1}, {1: 2}, {"min": 1, "max": 2}, {"values": [1]}, "1h", "x" * 300,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 0.5, float("nan"), float("inf"), "", "x", "\n", b"\0", [], [None], [[1]], {}, {"a": 1},
    {1: 2}, (), ("a", 1), torch.zeros(0), torch.zeros(3), torch.full((2, 2), float("nan")), torch.tensor(1),
    torch.ones(2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.complex64), torch.tensor(5), torch.zeros(1, 2, 3, 4),
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut off, or with a few bytes changed, put in, taken out or made zero."""
    kind = rng.choice(["cut", "change", "change", "change", "insert", "remove", "zero"])
    at = rng.randrange(len(content) + 1)
    if kind == "cut":
        return content[:at]
    if kind == "change":
        changed = bytearray(content)
        for _ in range(rng.choice([1, 1, 4])):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    length = rng.choice([1, 2, 7, 64])
    if kind == "insert":
        return content[:at] + rng.randbytes(length) + content[at:]
    return content[:at] + (bytes(length) if kind == "zero" else b"") + content[at + length :]


def mutated_yaml(text: str, rng: random.Random, others: Sequence[str] = ()) -> bytes:
    """A text of YAML: half of them as any text, half still YAML, with other values."""
    if rng.random() < 0.5:
        return mutated_text(text, rng, others)
    return dump_yaml(mutated_container(parse_yaml(text, "the original"), rng, PLAIN)).encode()


def mutated_text(text: str, rng: random.Random, others: Sequence[str] = ()) -> bytes:
    """A text with one to three of its words, lines or bytes changed. others: words of other texts to put in."""
    content = text
    for _ in range(rng.choice([1, 1, 2, 3])):
        content = rng.choice([_other_word, _other_word, _other_word, _other_line, _other_character])(
            content, rng, others
        )
    whole = content.encode("utf-8", "surrogatepass")
    return damaged(whole, rng) if whole and rng.random() < 0.1 else whole


def _other_word(text: str, rng: random.Random, others: Sequence[str]) -> str:
    found = list(_TOKEN.finditer(text))
    if not found:
        return text + rng.choice(NASTY)
    word = rng.choice(found)
    with_word = rng.choice([rng.choice(NASTY), rng.choice(found)[0], rng.choice(others or NASTY)])
    return text[: word.start()] + with_word + text[word.end() :]


def _other_line(text: str, rng: random.Random, _: Sequence[str]) -> str:
    lines = text.split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.choice(["drop", "twice", "swap", "in", "out", "cut"])
    if kind == "drop":
        del lines[at]
    elif kind == "twice":
        lines.insert(other, lines[at])
    elif kind == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "cut":
        del lines[at:]
    else:
        lines[at] = "  " + lines[at] if kind == "in" else lines[at][2:]
    return "\n".join(lines)


def _other_character(text: str, rng: random.Random, _: Sequence[str]) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice([*string.punctuation, *"01aAé \t\n", ""]) + text[at + rng.choice([0, 1]) :]


def mutated_words(words: Sequence[str], rng: random.Random, options: Sequence[str]) -> list[str]:
    """A command line with one to three words left out, repeated, moved, changed or added."""
    changed = list(words)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(changed) + 1)
        kind = rng.choice(["drop", "twice", "swap", "nasty", "change", "option", "join"])
        if kind == "option":
            changed.insert(at, rng.choice(options))
        elif kind == "nasty" and at < len(changed):
            changed[at] = rng.choice(NASTY)
        elif kind == "nasty":
            changed.append(rng.choice(NASTY))
        elif at < len(changed) and kind == "drop":
            del changed[at]
        elif at < len(changed) and kind == "twice":
            changed.insert(rng.randrange(len(changed)), changed[at])
        elif at < len(changed) and kind == "swap":
            other = rng.randrange(len(changed))
            changed[at], changed[other] = changed[other], changed[at]
        elif at < len(changed) and kind == "join":
            changed[at : at + 2] = ["=".join(changed[at : at + 2])]
        elif at < len(changed):
            changed[at] = _other_character(changed[at], rng, ())
    return [word.replace("\0", "") for word in changed]  # which no system passes on


def mutated_container(content: Any, rng: random.Random, values: Sequence[Any]) -> Any:
    """Nested mappings and lists with one to three values left out or changed; the content itself stays as it is."""
    changed = _copied(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = changed
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.85:
                at = at[key]
                continue
            kind = rng.choice(["drop", "value", "value", "near", "near", "rename", "item"])
            if kind == "drop":
                del at[key]
            elif kind == "rename" and isinstance(at, dict):
                at[rng.choice(["x", "", "epoch", 3])] = at.pop(key)
            elif kind == "near" and type(at[key]) in (int, float):
                at[key] = rng.choice([0, -at[key], at[key] + 1, at[key] * 2, at[key] / 3, at[key] * 1000, at[key] // 1])
            elif kind == "near" and isinstance(at[key], list):
                at[key] = rng.choice([at[key] * 2, at[key][::-1], at[key][:1], [*at[key], rng.choice(values)]])
            elif kind == "item" and isinstance(at[key], torch.Tensor):
                at[key] = _other_tensor(at[key], rng)
            else:
                at[key] = rng.choice(values)
            break
    return changed


def _other_tensor(x: torch.Tensor, rng: random.Random) -> torch.Tensor:
    kind = rng.choice(["shape", "dtype", "value", "flat", "more"])
    if kind == "shape" and x.ndim:
        return x[:-1]
    if kind == "dtype":
        return x.to(rng.choice([torch.float64, torch.int64, torch.bool, torch.float16]))
    if kind == "flat":
        return x.reshape(-1)
    if kind == "more":
        return x[None]
    return torch.full_like(x, rng.choice([0, 1, -1, 10**6]) if x.dtype != torch.bool else 1)


def _copied(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _copied(value) for key, value in content.items()}
    return [_copied(value) for value in content] if isinstance(content, list) else content
