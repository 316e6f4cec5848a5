"""Studies in states that a report may meet."""

from collections.abc import Callable

import pytest
import yaml

from cmd_tune.evaluate.tally import Tally, write_tally
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY, Conditions
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.request import read_space
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.study import SearchStudy
from tests.search.report import tables

CONDITIONS = Conditions("synthetic", "xview", {"val": 50, "test": 200})
RAW = {"test/knn/joint": 55.0, "test/knn/fused": 62.0, "val/knn/fused": 39.4}
UNTRAINED = {"test/knn/joint": 44.0, "test/knn/fused": 40.0, "test/linear/joint": 46.0}
TWO_NUMBERS = [
    {"teacher_temperature": t, "student_temperature": s, "reported": {"test/knn/joint": 70.0}}
    for t, s in ((0.05, 0.1), (0.05, 0.5), (0.01, 0.1))
]
BARS = [{"topk": 4, "reported": {"test/linear/joint": 80.0}}, {"topk": 8, "reported": {"test/knn/joint": 71.5}}]
COMPARISON = {
    "method": "cells",
    "reported_on": {"by": "Them", "dataset": "synthetic", "protocol": "xview", "probes": {"knn": "1-NN"}},
    **dict.fromkeys(("parameters", "points_to_evaluate", "budget")),
}
CLAIM = {"says": "the first is best", "metrics": ["test/knn/joint"]}
BEST = {**CLAIM, "best": {"teacher_temperature": 0.05, "student_temperature": 0.1}}

TWO_METRICS = {"metric": None, "metrics": [{"name": "val/knn/fused"}, {"name": "loss/total"}]}

# Of a study: what differs from the space file of a search, and each trial's scores; an empty list is a failure.
STUDIES = {
    "search, empty": ({}, []),
    "search, one trial": ({}, [[10, 20, 70]]),
    "search, one running": ({}, [[10]]),
    "search, all failed": ({}, [[], []]),
    "search, stopped early": ({}, [[99, 98], [10, 20, 30]]),
    "search, two metrics, all failed": (TWO_METRICS, [[], []]),
    "search, two metrics": (TWO_METRICS, [[10, 20, 70], [10, 20, 70], [10, 20, 60]]),
    "comparison, empty": ({**COMPARISON, "cells": TWO_NUMBERS, "claims": [BEST]}, []),
    "comparison, one trial": ({**COMPARISON, "cells": TWO_NUMBERS, "claims": [BEST]}, [[10, 20, 70]]),
    "comparison, all failed": ({**COMPARISON, "cells": BARS, "claims": [{**CLAIM, "best": {"topk": 4}}]}, [[], []]),
    "comparison, one seed": (
        {**COMPARISON, "cells": BARS, "claims": [{**CLAIM, "best": {"topk": 8}}]},
        [[1, 2, 60], [1, 2, 70]],
    ),
    "comparison, missing cells": (
        {**COMPARISON, "cells": TWO_NUMBERS, "seeds": [0, 1, 2], "claims": [BEST]},
        [[1, 2, 60], [], [1, 2, 70], [1, 2, 62], [], [], [1, 2, 63], []],
    ),
    "comparison, nothing reported or claimed": (
        {**COMPARISON, "cells": [{"objective": "cmd"}], "reported_on": None},
        [[1, 2, 60]],
    ),
}


# Of a search with more parameters than a screen has columns for.
RANGES = {
    name: {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}
    for name in ("teacher_temperature", "student_temperature", "contrast_temperature", "learning_rate", "weight_decay")
}
SHARES = {
    name: {"distribution": "uniform", "min": 0.1, "max": 0.9}
    for name in ("crop_min_share", "shear_range", "corrupted_share", "distill_weight", "stage_switch", "sgd_momentum")
}
CHOICES = {
    "queue_size": {"values": [64, 128, 256]},
    "topk": {"values": [16, 32]},
    "key_momentum": {"values": [0.9, 0.99]},
    "batch_size": {"values": [8, 16]},
    "layers": {"values": [1, 2]},
}
SIXTEEN = {**RANGES, **SHARES, **CHOICES}


@pytest.fixture
def findings_of(make_space, open_study) -> Callable[..., StudyFindings]:
    """Plays a study of STUDIES. baselines: whether they were scored, and counted by subject."""

    def make(name: str, *, baselines: bool = True) -> StudyFindings:
        changes, trials = STUDIES[name]
        study: SearchStudy = open_study(make_space(**changes), trials=max(4, len(trials)))
        for scores in trials:
            trial = study.next()
            for epoch, score in enumerate(scores, 1):
                study.record(trial, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": score})
            if name.endswith("running"):
                continue
            study.end(trial, failure="" if scores else "the loss is nan in epoch 1")
            if len(scores) == 3:
                study.record_test(trial, {"test/knn/joint": scores[-1], "test/knn/fused": scores[-1]})
                write_tally(trial.folder / TEST_TALLY, Tally([120, 80], {"test/knn/fused": [90, 50]}, True))
        if not baselines:
            return StudyFindings(study, {}, {}, CONDITIONS)
        for file in (UNTRAINED_TALLY, RAW_TALLY):
            write_tally(study.folder / file, Tally([120, 80], {"test/knn/fused": [60, 40]}, True))
        return StudyFindings(study, RAW, UNTRAINED, CONDITIONS)

    return make


@pytest.fixture
def table_space(make_space: Callable[..., Space]) -> Callable[..., Space]:
    """A table of tables.py with these seeds, and top-level keys changed."""

    def make(seeds: list[int], **changes: object) -> Space:
        absent = dict.fromkeys(("parameters", "points_to_evaluate", "budget"))
        usual = {"method": "cells", "title": "A table", "cells": tables.CELLS, "claims": tables.CLAIMS, "seeds": seeds}
        usual["reported_on"] = tables.ORIGIN
        return make_space(**{**absent, **usual, **changes})

    return make


@pytest.fixture
def played(open_study: Callable[..., SearchStudy]) -> Callable[..., SearchStudy]:
    """A study whose trials have run, with test scores {(topk, seed): KNN}; others fail. Linear is always 60."""

    def play(space: Space, knn: dict[tuple[int, int], float]) -> SearchStudy:
        study = open_study(space, trials=100)
        while (trial := study.next()) is not None:
            score = knn.get((trial.values["topk"], trial.values["seed"]))
            if score is None:
                study.end(trial, failure="the loss is nan in epoch 1")
                continue
            for epoch in (1, 2, 3):
                study.record(trial, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": 10.0 * epoch})
            study.end(trial)
            study.record_test(trial, {"test/knn/joint": score, "test/linear/joint": 60.0})
        return study

    return play


@pytest.fixture
def ended(make_space, open_study):
    """Plays trials of three epochs to the values given; the last may fail, or still run."""

    def play(*scores, failed=(), running=()):
        study = open_study(make_space(), trials=len(scores))
        for index, values in enumerate(scores):
            trial = study.next()
            for epoch, value in enumerate(values, 1):
                study.record(trial, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": value})
            if index not in running:
                study.end(trial, failure="out of memory" if index in failed else "")
        return study

    return play


@pytest.fixture(scope="session")
def wide_study(tiny, tmp_path_factory):
    """Sixteen parameters, sixteen trials: two run, one failed, the others finished."""
    folder = tmp_path_factory.mktemp("screen")
    content = {"method": "random", "metric": {"name": "val/knn/fused", "goal": "maximize"}, "parameters": SIXTEEN}
    (folder / "space.yaml").write_text(yaml.safe_dump(content))
    study = SearchStudy(folder, read_space(folder / "space.yaml"), tiny(queue_size=64, topk=6), "quick", 40)
    for number in range(16):
        trial, running = study.next(), number > 13
        score = {"val/knn/fused": 1.0 if running else 40.0 + number, "val/knn/joint": 30.0}
        for epoch in (1,) if running else (1, 2, 3):
            study.record(trial, {"epoch": epoch, "loss/total": 12.345} | (score if epoch == 3 else {}))
        if number < 13:
            study.end(trial)
    study.end(study.trials[13], failure="the loss is nan in epoch 4; lower learning_rate or raise the temperatures")
    return study
