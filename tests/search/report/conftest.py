"""Studies in states that a report may meet."""

from collections.abc import Callable

import pytest

from cmd_tune.evaluate.tally import Tally, write_tally
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY, Conditions
from cmd_tune.search.report import StudyFindings
from cmd_tune.search.study.study import SearchStudy

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

# Of a study: what differs from the space file of a search, and each trial's scores; an empty list is a failure.
STUDIES = {
    "search, empty": ({}, []),
    "search, one trial": ({}, [[10, 20, 70]]),
    "search, one running": ({}, [[10]]),
    "search, all failed": ({}, [[], []]),
    "search, stopped early": ({}, [[99, 98], [10, 20, 30]]),
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
