"""The finalists of a search that has come to its end: their checkpoints are scored on the test set."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cmd_tune.compute.slower import heard
from cmd_tune.errors import CmdTuneError
from cmd_tune.evaluate.scores import Scores
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Attempt
from cmd_tune.runs.pretrain_and_score import test_scores
from cmd_tune.search.execution import Engine
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.study.study import FINALISTS, SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord
from cmd_tune.settings import Settings
from cmd_tune.train.loop import CHECKPOINT


def score_finalists(
    study: SearchStudy,
    source: DataSource,
    engine: Engine,
    listeners: Sequence[SearchListener],
    attempt: Attempt,
) -> None:
    """Score the finalists that have no test scores yet; `attempt` takes each, so that one that fails stops no other.

    Each takes a trial's place, now that none runs: as many are scored at once as there is room for.
    """
    untested = [trial for trial in study.finalists(FINALISTS) if not trial.test_scores]
    if untested:
        for listener in listeners:
            listener.continued()

    def gone(trial: TrialRecord) -> tuple[Scores, str]:
        raise CmdTuneError(f"{trial.folder / CHECKPOINT}: no such checkpoint")

    def start(trial: TrialRecord) -> Callable[[], tuple[Scores, str]]:
        if not trial.testable:
            return partial(gone, trial)
        task = (study.settings_of(trial), source, trial.folder)
        return engine.call(_score, *task)

    def record(trial: TrialRecord, scored: Callable[[], tuple[Scores, str]]) -> None:
        scores, said = scored()
        study.record_test(trial, scores)
        for listener in listeners:
            if said:
                listener.noted(said)
            listener.tested(trial)

    for trial, scored in [(trial, start(trial)) for trial in untested]:
        attempt(f"test of {trial.name}", partial(record, trial, scored))


def _score(settings: Settings, source: DataSource, folder: Path) -> tuple[Scores, str]:
    """The test scores of a trial, and what its process warns of, in one line: nobody sees that process."""
    with heard() as said:
        scores = test_scores(settings, source, folder)
    return scores, "; ".join(said)
