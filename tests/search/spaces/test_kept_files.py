"""Space files that 0.1.0 read are read as it read them, and what it refused is refused.

`golden/space_files.json.gz` holds 300 files, most of them made wrong in one place or two at random, each with what
0.1.0 took it for; null if it refused it.
"""

import gzip
import json

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.request import read_space


def meaning(space):
    """All that a space says, as JSON has it."""
    rule, table = space.early_terminate, space.comparison
    parts = {
        "method": space.method,
        "metric": [space.metric, space.maximize],
        "parameters": {name: [p.distribution, p.low, p.high, p.q, p.choices] for name, p in space.parameters.items()},
        "fixed": space.fixed,
        "constraints": [constraint.text for constraint in space.constraints],
        "start_points": space.start_points,
        "early_terminate": rule and [rule.grace_period, rule.reduction_factor],
        "budget": [space.trials, space.seconds],
        "settings": space.settings,
        "preset": space.preset,
        "table": table
        and [
            table.title,
            [[cell.values, cell.reported] for cell in table.cells],
            table.seeds,
            [[claim.says, claim.relation, claim.pairs, claim.metrics, claim.margin] for claim in table.claims],
            table.origin and [table.origin.by, table.origin.dataset, table.origin.protocol, table.origin.probes],
        ],
    }
    return json.loads(json.dumps(parts))


def test_every_file_means_what_it_meant(golden, tmp_path):
    kept = json.loads(gzip.decompress((golden / "space_files.json.gz").read_bytes()))
    assert [sum(meant is not None for _, meant in kept), len(kept)] == [120, 300]
    path = tmp_path / "kept.yaml"
    for text, meant in kept:
        path.write_text(text, encoding="utf-8")
        if meant is not None:
            assert meaning(read_space(path)) == meant, text
            continue
        with pytest.raises(UsageError) as caught:
            read_space(path)
        assert all(line.startswith(f"{path}: ") for line in caught.value.lines)
