"""The JSON schema of space files: what is shipped is what is made, and it takes what the reader takes."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cmd_tune.commands.settings import schema_text
from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.schema import SCHEMA_FILE
from cmd_tune.search.spaces.space_file import load_space
from cmd_tune.search.spaces.sweep_file import ANSWERED, ANSWERED_DISTRIBUTIONS
from cmd_tune.search.study.early_stopping import EARLY_STOPPING
from cmd_tune.search.study.methods import METHODS
from cmd_tune.settings import Settings
from cmd_tune.yaml_files import dump_yaml, parse_yaml
from tests.search.spaces.test_sweep_file import SWEEP

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))
SCHEMA = json.loads(schema_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_shipped_schema_is_the_one_that_is_made() -> None:
    """Else: python -m cmd_tune settings --space-schema > search_spaces/space.schema.json."""
    assert (ROOT / "search_spaces" / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text()
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_space_names_its_schema_and_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first, _, _ = text.partition("\n")
    assert first == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    VALIDATOR.validate(parse_yaml(text, path.name))


BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M), 1)
    if "landmarks:" not in block  # of a rig
]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_blocks_of_the_pages_are_valid(block: str) -> None:
    content = parse_yaml(block, "block")
    if content.get("method") != "cells":
        content = {"parameters": {"topk": {"values": [4, 8]}}, **content}
    VALIDATOR.validate(content)


def test_sweep_files_of_wandb_are_valid() -> None:
    VALIDATOR.validate(parse_yaml(SWEEP, "sweep"))


def test_what_the_reader_takes_is_valid() -> None:
    """Of 300 files, most of them made wrong at random, the 120 that 0.1.0 read."""
    kept = json.loads(gzip.decompress((ROOT / "tests/golden/space_files.json.gz").read_bytes()))
    read = [text for text, meant in kept if meant is not None]
    assert [text for text in read if not VALIDATOR.is_valid(parse_yaml(text, "kept"))] == []


TWO: dict[str, Any] = {"parameters": {"topk": {"min": 4, "max": 8}, "learning_rate": {"min": 1e-4, "max": 1e-2}}}
TABLE: dict[str, Any] = {"cells": [{"topk": 4}, {"topk": 8}]}


def test_what_is_left_out_may_be() -> None:
    VALIDATOR.validate(TWO)
    VALIDATOR.validate(TABLE)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"parameters": {}},
        {"parameters": {"tpok": {"min": 1, "max": 2}}},
        {"parameters": {"topk": 4}},
        {"parameters": {"topk": {"min": 4}}},
        {"parameters": {"topk": {"min": 0, "max": 4}}},
        {"parameters": {"topk": {"values": []}}},
        {"parameters": {"topk": {"values": [1.5]}}},
        {"parameters": {"topk": {"value": 3, "values": [3]}}},
        {"parameters": {"topk": {"min": 4, "max": 8, "q": 2}}},
        {"parameters": {"topk": {"distribution": "q_uniform", "min": 4, "max": 8, "q": 0}}},
        {"parameters": {"topk": {"distribution": "categorical", "min": 4, "max": 8}}},
        {"parameters": {"optimizer": {"values": ["sgd", "adam"]}}},
        {"parameters": {"optimizer": {"min": 1, "max": 2}}},
        {"parameters": {"key_momentum": {"min": 0.5, "max": 1.5}}},
        *({"parameters": {"topk": {"distribution": word, "min": 1, "max": 2}}} for word in ANSWERED_DISTRIBUTIONS),
        *({**TWO, key: []} for key in ANSWERED),
        {**TWO, "method": "custom"},
        {**TWO, "method": "cells"},
        {**TWO, "metric": "val/knn/fused"},
        {**TWO, "metric": {"goal": "maximize"}},
        {**TWO, "metric": {"name": "a", "goal": "maximise"}},
        {**TWO, "budget": {"trials": 0}},
        {**TWO, "budget": {"time": "soon"}},
        {**TWO, "budget": {"time": ""}},
        {**TWO, "budget": {"time": -1}},
        {**TWO, "budget": {"hours": 1}},
        {**TWO, "run_cap": 0},
        {**TWO, "preset": "quik"},
        {**TWO, "settings": {"epochs": 0}},
        {**TWO, "settings": {"epohcs": 3}},
        {**TWO, "constraints": "topk <= queue_size"},
        {**TWO, "points_to_evaluate": [{"topk": 0}]},
        {**TWO, "early_terminate": {"grace_period": 3}},
        {**TWO, "early_terminate": {"type": "asha", "grace_period": 0}},
        {**TWO, "early_terminate": {"type": "asha", "min_iter": 3}},
        {**TWO, "early_terminate": {"type": "hyperband", "eta": 3, "s": 1}},
        {**TWO, "refit": "no"},
        {**TWO, "refit": {"seeds": [0, 0]}},
        {**TWO, "seeds": [1]},
        {**TWO, "zzz": 1},
        {**TWO, "metrics": [{"name": "val/knn/fused"}]},
        {**TWO, "reported": {"val/knn/joint": 70}},
        {**TWO, "reported": {"test/knn/joint": 101}},
        {"cells": []},
        {"cells": [{"topk": 4, "reported": {"test/knn/joint": 101}}]},
        {**TABLE, "seeds": []},
        {**TABLE, "claims": [{"best": {"topk": 4}}]},
        {**TABLE, "claims": [{"says": "so", "bets": {"topk": 4}}]},
        {**TABLE, "claims": [{"says": "so", "flat": [{"topk": 4}, {"topk": 8}], "margin": 0}]},
        {**TABLE, "reported_on": {"by": "us"}},
        {**TABLE, "refit": "none"},
    ],
)  # fmt: skip
def test_a_wrong_file_is_not_valid(content: dict[str, Any], tmp_path: Path) -> None:
    """Nor is it read."""
    assert not VALIDATOR.is_valid(content)
    path = tmp_path / "wrong.yaml"
    path.write_text(dump_yaml(content), encoding="utf-8")
    with pytest.raises(UsageError):
        load_space(path, METHODS, EARLY_STOPPING)


def test_every_setting_method_and_rule_is_in_it() -> None:
    search, table = SCHEMA["else"]["properties"], SCHEMA["then"]["properties"]
    assert {*search["parameters"]["properties"]} == {*Settings.model_fields}
    assert {*search["method"]["enum"], *table["method"]["enum"]} == {*METHODS, "bayes"}
    rules = [rule for rule in search["early_terminate"]["anyOf"] if rule != {"const": "none"}]
    kinds = [rule["properties"]["type"]["const"] for rule in rules]
    assert {*kinds} == {*EARLY_STOPPING, "none"}


def test_every_key_says_what_it_may_be() -> None:
    """No model's key is left to anything: a new one needs a part in the schema."""

    def vague(schema: Any, place: str) -> list[str]:
        if not isinstance(schema, dict):
            return []
        found = [f"{place}.{key}" for key, part in schema.get("properties", {}).items() if not _says(part)]
        return found + [
            hit for key, part in schema.get("properties", {}).items() for hit in vague(part, f"{place}.{key}")
        ]

    assert vague(SCHEMA["then"], "") + vague(SCHEMA["else"], "") == []


def _says(schema: Any) -> bool:
    return schema is True or bool(schema.keys() & {"type", "enum", "const", "anyOf", "$ref"})
