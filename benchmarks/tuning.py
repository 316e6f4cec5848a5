"""`python -m benchmarks tuning`: repeats searches over known runs (tuning_runs.parquet), and compares what each way of
searching returns for its epochs.

A search sees single runs, with seeds that are drawn for it, with replacement, and returns a setting. What that is worth
is the mean over all seeds of the table. Trials come one at a time, so that no way gains by chance of who ends first.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import optuna
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.tuning_runs import EVERY, GRID, TABLE
from cmd_tune.search.study.early_stopping import EARLY_STOPPING
from cmd_tune.search.study.methods import METHODS

METRIC = "val/knn/fused"
BUDGETS = (8, 12, 16, 24, 32, 48, 64)  # in whole runs
_SPARE = 5  # seeds that are drawn for runs which may confirm a trial
_ATTEMPTS = 8  # suggestions of a setting that has been run, before one that has not is drawn


@dataclass(frozen=True)
class Known:
    """Scores in percent of G settings, S seeds, P validations, `EVERY` epochs apart. NaN: it had diverged by then.

    levels: of each setting, the places of its values in GRID.
    """

    levels: tuple[tuple[int, ...], ...]
    score_GSP: NDArray[np.float64]

    @property
    def epochs(self) -> int:
        return EVERY * self.score_GSP.shape[2]

    @cached_property
    def last_GS(self) -> NDArray[np.float64]:  # noqa: N802  (a tensor's name)
        """Scores of the last epoch; of a run that diverged, zero."""
        return np.nan_to_num(self.score_GSP[:, :, -1])


def read(path: Path = TABLE, metric: str = METRIC) -> Known:
    """The runs of a table; a seed that lacks settings is left out."""
    curves: dict[int, dict[tuple[float, ...], dict[int, float]]] = {}  # by seed, setting and epoch
    for row in pq.read_table(path).to_pylist():
        values = tuple(row[name] for name in GRID)
        curves.setdefault(row["seed"], {}).setdefault(values, {})[row["epoch"]] = row[metric]
    settings = sorted({values for curve in curves.values() for values in curve})
    whole = [seed for seed in sorted(curves) if len(curves[seed]) == len(settings)]
    points = range(EVERY, 1 + max(max(curve) for curve in curves[whole[0]].values()), EVERY)
    score_GSP = np.array(
        [[[curves[seed][values].get(epoch, np.nan) for epoch in points] for seed in whole] for values in settings]
    )
    levels = [tuple(GRID[name].index(value) for name, value in zip(GRID, values, strict=True)) for values in settings]
    return Known(tuple(levels), score_GSP)


@dataclass(frozen=True)
class Way:
    """A way of searching.

    method: of METHODS; "ray": OptunaSearch and AsyncHyperBandScheduler of Ray Tune, which return the best last report.
    stopping: keys and values of `early_terminate`; Ray Tune takes those of asha. seeds: runs of a trial, whose mean is
    its score. top, share: the best `top` settings, and the start point, are run again with as many other seeds as that
    share of the budget pays for (5 at most; none, if for fewer than 2); their mean decides. fresh: whether without the
    first score, which has chosen them. start: the place of the first trial's setting among all settings, by their mean
    over seeds, from 0 for the best; None: the first trial is suggested, too.
    """

    name: str
    method: str
    startup: int = 10
    stopping: tuple[tuple[str, Any], ...] = ()
    seeds: int = 1
    top: int = 0
    share: float = 0.0
    fresh: bool = True
    start: int | None = None

    @property
    def search(self) -> "Way":
        """The way without what comes after the search, which several may share."""
        return Way("", self.method, self.startup, self.stopping, self.seeds, start=self.start)


@dataclass
class Trial:
    """A setting, its seeds, the epochs spent on it, its score (NaN if it was stopped), its last validation, and the
    epochs of all trials until then. spare: seeds of runs that may confirm it.
    """

    setting: int
    seeds: tuple[int, ...]
    spare: tuple[int, ...]
    spent: int
    score: float
    last: float
    total: int


@dataclass
class _Search:
    """One search over known runs, which goes on until its epochs are spent."""

    known: Known
    way: Way
    seed: int
    trials: list[Trial] = field(default_factory=list)

    def run(self, epochs: int) -> list[Trial]:
        random = np.random.default_rng(self.seed)
        suggest, tell, stops = (_ray if self.way.method == "ray" else _ours)(self.known, self.way, self.seed)
        start = _start(self.known, self.way)
        while sum(trial.spent for trial in self.trials) < epochs:
            number = len(self.trials)
            given = number == 0 and start is not None and self.way.method != "ray"
            setting = start if given else suggest(number, self.trials)
            if setting is None:
                break
            drawn = random.integers(self.known.score_GSP.shape[1], size=self.way.seeds + _SPARE).tolist()
            self._take(number, setting, drawn, stops)
            tell(number, self.trials[-1])
        return self.trials

    def _take(self, number: int, setting: int, drawn: Sequence[int], stops: Any) -> None:
        """Run a trial: the first seed's run may be stopped, and the others then do not begin."""
        seeds, spare = tuple(drawn[: self.way.seeds]), tuple(drawn[self.way.seeds :])
        curve_P = self.known.score_GSP[setting, seeds[0]]
        spent, stopped, last = 0, False, 0.0
        for point, score in enumerate(curve_P, 1):
            spent = point * EVERY
            last = 0.0 if np.isnan(score) else float(score)
            if np.isnan(score) or (point < len(curve_P) and stops(number, spent, float(score))):
                stopped = True
                break
        spent += 0 if stopped else (len(seeds) - 1) * self.known.epochs
        score = float("nan") if stopped else float(self.known.last_GS[setting, list(seeds)].mean())
        total = spent + (self.trials[-1].total if self.trials else 0)
        self.trials.append(Trial(setting, seeds if not stopped else seeds[:1], spare, spent, score, last, total))


def _start(known: Known, way: Way) -> int | None:
    """The setting of the start point."""
    return None if way.start is None else int(np.argsort(-known.last_GS.mean(1))[way.start])


def _ours(known: Known, way: Way, seed: int) -> tuple[Any, Any, Any]:
    """Our own methods, each suggestion by a sampler of its own, and no setting twice."""
    keys = dict(way.stopping)
    pruner = (
        EARLY_STOPPING[keys["type"]].model_validate(keys).pruner(known.epochs) if keys else optuna.pruners.NopPruner()
    )
    study = optuna.create_study(direction="maximize", pruner=pruner)
    spread = {name: optuna.distributions.IntDistribution(0, len(values) - 1) for name, values in GRID.items()}
    live: dict[int, optuna.trial.Trial] = {}
    random = np.random.default_rng(seed + 1)

    def enter(number: int, levels: Sequence[int]) -> None:
        study.enqueue_trial(dict(zip(GRID, levels, strict=True)))
        live[number] = study.ask(spread)

    def suggest(number: int, trials: Sequence[Trial]) -> int | None:
        tried = {trial.setting for trial in trials}
        for attempt in range(_ATTEMPTS):
            study.sampler = METHODS[way.method].sampler((seed * 1000 + number) * 100 + attempt, way.startup)
            asked = study.ask(spread)
            setting = known.levels.index(tuple(asked.params[name] for name in GRID))
            if setting not in tried:
                live[number] = asked
                return setting
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        left = [setting for setting in range(len(known.levels)) if setting not in tried]
        if not left:
            return None
        setting = int(random.choice(left))
        enter(number, known.levels[setting])
        return setting

    def stops(number: int, epoch: int, score: float) -> bool:
        if number not in live:
            enter(number, known.levels[_start(known, way) or 0])
        live[number].report(score, epoch)
        return live[number].should_prune()

    def tell(number: int, trial: Trial) -> None:
        if np.isnan(trial.score):
            study.tell(live[number], state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(live[number], trial.score)

    return suggest, tell, stops


def _ray(known: Known, way: Way, seed: int) -> tuple[Any, Any, Any]:
    """Ray Tune's own OptunaSearch and, if trials are stopped, AsyncHyperBandScheduler."""
    from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
    from ray.tune.search.optuna import OptunaSearch

    spread = {name: optuna.distributions.IntDistribution(0, len(values) - 1) for name, values in GRID.items()}
    start, keys = _start(known, way), dict(way.stopping)
    searcher = OptunaSearch(
        space=spread,
        metric=METRIC,
        mode="max",
        sampler=optuna.samplers.TPESampler(seed=seed),
        points_to_evaluate=[dict(zip(GRID, known.levels[start], strict=True))] if start is not None else None,
    )
    scheduler = None
    if keys:
        scheduler = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric=METRIC,
            mode="max",
            max_t=known.epochs,
            grace_period=keys["grace_period"],
            reduction_factor=keys["reduction_factor"],
        )
    runs: dict[int, SimpleNamespace] = {}

    def suggest(number: int, trials: Sequence[Trial]) -> int:
        levels = searcher.suggest(str(number))
        runs[number] = SimpleNamespace(trial_id=str(number), stub=True)
        if scheduler:
            scheduler.on_trial_add(None, runs[number])
        return known.levels.index(tuple(int(levels[name]) for name in GRID))

    def stops(number: int, epoch: int, score: float) -> bool:
        runs[number].last = {"epoch": epoch, "training_iteration": epoch, METRIC: score}
        searcher.on_trial_result(str(number), runs[number].last)
        if not scheduler:
            return False
        return bool(scheduler.on_trial_result(None, runs[number], runs[number].last) == TrialScheduler.STOP)

    def tell(number: int, trial: Trial) -> None:
        last = {
            "training_iteration": trial.spent,
            METRIC: known.score_GSP[trial.setting, trial.seeds[0], trial.spent // EVERY - 1],
        }
        searcher.on_trial_complete(str(number), last)

    return suggest, tell, stops


def worth(known: Known, way: Way, trials: Sequence[Trial], epochs: int) -> float:
    """What the returned setting is worth after so many epochs, in percent: the mean over all seeds.

    NaN if the epochs are too few for the way.
    """
    runs = int(way.share * epochs / known.epochs) // (way.top + 1) if way.top else 0
    more = min(_SPARE, runs) if runs > 1 else 0
    done = [trial for trial in trials if trial.total <= epochs - (way.top + 1) * more * known.epochs]
    scored = [trial for trial in done if not np.isnan(trial.score)]
    if not scored:
        return float("nan")
    if way.method == "ray":
        best = max(done, key=lambda trial: trial.last).setting
        return float(known.last_GS[best].mean())
    found = {trial.setting: trial.score for trial in scored}
    if more:
        finalists = dict.fromkeys(sorted(found, key=lambda setting: -found[setting])[: way.top])
        if way.start is not None:
            finalists[scored[0].setting] = None
        own, spare = 0 if way.fresh else way.seeds, {trial.setting: trial.spare for trial in scored}
        again = {setting: known.last_GS[setting, list(spare[setting][:more])].sum() for setting in finalists}
        found = {setting: float((own * found[setting] + again[setting]) / (own + more)) for setting in finalists}
    best = max(found, key=lambda setting: found[setting])
    return float(known.last_GS[best].mean())


def _asha(first: int, factor: int) -> tuple[tuple[str, Any], ...]:
    return ("type", "asha"), ("grace_period", first), ("reduction_factor", factor)


_MEDIAN = (("type", "median"), ("grace_period", 8), ("startup_trials", 4))
_PREDICTED = (("type", "predicted"), ("grace_period", 8), ("startup_trials", 4), ("chance", 0.05))
ASHA = _asha(8, 3)
THIRD = 1 / 3  # of a budget: half as much as the trials take

WAYS = (
    Way("random", "random"),
    Way("random, predicted", "random", stopping=_PREDICTED),
    Way("Ray Tune's OptunaSearch", "ray"),
    Way("… with its ASHA (4, 4)", "ray", stopping=_asha(4, 4)),
    Way("… with its ASHA (8, 3)", "ray", stopping=ASHA),
    Way("tpe", "tpe"),
    Way("tpe, asha (4, 3)", "tpe", stopping=_asha(4, 3)),
    Way("tpe, asha (8, 3)", "tpe", stopping=ASHA),
    Way("tpe, start-up 5, asha (8, 3)", "tpe", startup=5, stopping=ASHA),
    Way("tpe, median", "tpe", stopping=_MEDIAN),
    Way("tpe, predicted", "tpe", stopping=_PREDICTED),
    Way("gp", "gp"),
    Way("gp, predicted", "gp", stopping=_PREDICTED),
    Way("tpe, 3 seeds", "tpe", seeds=3),
    Way("tpe, confirm 3", "tpe", top=3, share=THIRD),
    Way("tpe, asha (8, 3), confirm 1", "tpe", stopping=ASHA, top=1, share=THIRD),
    Way("tpe, asha (8, 3), confirm 2", "tpe", stopping=ASHA, top=2, share=THIRD),
    Way("tpe, asha (8, 3), confirm 3", "tpe", stopping=ASHA, top=3, share=THIRD),
    Way("… by half of the budget", "tpe", stopping=ASHA, top=3, share=0.5),
    Way("… by all runs, not the fresh alone", "tpe", stopping=ASHA, top=3, share=THIRD, fresh=False),
    Way("tpe, asha (8, 3), confirm 5", "tpe", stopping=ASHA, top=5, share=THIRD),
    Way("tpe, predicted, confirm 3", "tpe", stopping=_PREDICTED, top=3, share=THIRD),
    Way("random, predicted, confirm 3", "random", stopping=_PREDICTED, top=3, share=THIRD),
    Way("random, asha (8, 3), confirm 3", "random", stopping=ASHA, top=3, share=THIRD),
    Way("gp, confirm 3", "gp", top=3, share=THIRD),
    Way("gp, predicted, confirm 3", "gp", stopping=_PREDICTED, top=3, share=THIRD),
)


def main(
    repeats: Annotated[int, typer.Option(help="Searches of each way.", min=2)] = 200,
    table: Annotated[Path, typer.Option(help="As `tuning-runs` writes it.")] = TABLE,
    processes: Annotated[int, typer.Option(help="Searches at once.", min=1)] = 2,
    start: Annotated[
        int | None, typer.Option(help="Begin with this setting, counted from the best one, 0. [default: none]", min=0)
    ] = None,
    only: Annotated[str, typer.Option(help="Only ways whose name begins so.")] = "",
    most: Annotated[int, typer.Option(help="The largest budget, in runs.", min=BUDGETS[0])] = BUDGETS[-1],
) -> None:
    """Print the regret of each way by its budget: how many points the best setting's mean is above what it returns."""
    known = read(table)
    ways = [replace(way, start=start) for way in WAYS if way.name.startswith(only)]
    budgets = [budget for budget in BUDGETS if budget <= most]
    best = float(known.last_GS.mean(1).max())
    searches = list(dict.fromkeys(way.search for way in ways))
    work = [(table, search, seed, budgets[-1]) for search in searches for seed in range(repeats)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_trials, work, chunksize=10))
    by_search = {search: found[n * repeats : (n + 1) * repeats] for n, search in enumerate(searches)}
    title = f"Regret in points, mean of {repeats} searches and its 95 % interval, by budget in runs; best {best:.1f}"
    shown = Table(title=title, title_justify="left")
    for heading in ("", *map(str, budgets)):
        shown.add_column(heading)
    for way in ways:
        shown.add_row(way.name, *_cells(known, way, by_search[way.search], best, budgets))
    Console(width=150).print(shown)


def _trials(work: tuple[Path, Way, int, int]) -> list[Trial]:
    path, way, seed, budget = work
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    known = read(path)
    return _Search(known, way, seed).run(budget * known.epochs)


def _cells(
    known: Known, way: Way, searches: Sequence[list[Trial]], best: float, budgets: Sequence[int]
) -> Iterator[str]:
    for budget in budgets:
        lost = best - np.array([worth(known, way, trials, budget * known.epochs) for trials in searches])
        lost = lost[~np.isnan(lost)]
        few = len(lost) < len(searches)
        yield "–" if few else f"{lost.mean():.2f} ± {1.96 * lost.std(ddof=1) / len(lost) ** 0.5:.2f}"
