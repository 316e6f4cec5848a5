"""The plan of a search, resolved: space, settings, data, folder. Written into the folder, read on a resume."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from cmd_tune.data.layouts import Layout
from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.files import write_text
from cmd_tune.formatting import time_span
from cmd_tune.redact import redact
from cmd_tune.remote_files import Place
from cmd_tune.runs.data_source import DataSource, source_of
from cmd_tune.runs.environment import describe_software
from cmd_tune.runs.kept_paths import write_paths
from cmd_tune.runs.run_folder import SEARCH_FILE, earlier_run, resume_line
from cmd_tune.runs.run_plan import KeptData, check_same_data, experiment_name, kept_tracking_uri, read_plan
from cmd_tune.search.execution import ResourcePlan, ResourceRequest, TrialResources
from cmd_tune.search.request import (
    SearchRequest,
    ablation_of,
    confirm_of,
    given_count,
    read_space,
    refit_of,
    trial_count,
    typed_seconds,
)
from cmd_tune.search.space_checks import check_fused, check_joints, check_metrics
from cmd_tune.search.spaces.ablation import Ablation, ablation_content, read_ablation
from cmd_tune.search.spaces.confirm import Confirm, confirm_content, read_confirm
from cmd_tune.search.spaces.refit import Refit, read_refit, refit_content
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.spaces.space_file import find_space
from cmd_tune.search.study.clock import CLOCK, Clock
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.search.study.methods import method_title
from cmd_tune.search.study.study_file import trial_folders
from cmd_tune.settings import Settings, kept_settings
from cmd_tune.tracking import Identity, earlier_identity, new_identity, relative_uri
from cmd_tune.yaml_files import dump_yaml

SPACE = "space.yaml"  # in a search's folder
_RESOURCES = {option.name for option in fields(ResourceRequest)}  # keys of the plan file


@dataclass(frozen=True)
class KeptLayout:
    """How the trials of a session were laid out."""

    text: str  # for people
    per_trial: TrialResources | None  # None: an earlier release kept the text alone

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Plan:
    """A resolved search. `settings` are those of every trial before its own values replace some of them."""

    folder: Path
    space: Space
    preset: str
    settings: Settings
    source: DataSource
    dataset: str
    fingerprint: str  # of the store's content
    trials: int | None  # None: as many as the time allows
    resources: ResourceRequest
    tracking_uri: str  # with its password, which is not kept
    refit: Refit | None = None
    confirm: Confirm | None = None
    ablation: Ablation | None = None
    id: str = field(default_factory=new_identity)  # on the tracking server, where names may be equal
    environment: Mapping[str, Any] = field(default_factory=describe_software)  # of the first session
    new: bool = False
    normalization: str = ""  # of the store; empty in files of earlier releases
    last_layout: KeptLayout | None = None  # of the session before this one
    address: str | None = None  # of the cluster that this session joins; not in the plan file
    retry_failed: bool = False  # whether this session runs trials again that failed for their own values
    lasting: Mapping[str, Any] = field(default_factory=dict)  # keys of the plan file that stay as they are
    changed_space: str | None = None  # text of the space file that replaces the folder's

    @property
    def resume(self) -> str:
        """The command that goes on with the search."""
        return resume_line("search", self.folder, self.address)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def experiment(self) -> str:
        return experiment_name(self.dataset, self.source.protocol, self.normalization)

    @property
    def given(self) -> int:
        """As of `given_count`."""
        return given_count(self.space, self.trials)


_Count = Annotated[int, Field(ge=1)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class KeptPlan(KeptData):
    """The keys of a plan file that a resumed search reads."""

    id: Identity = Field(default_factory=earlier_identity)
    dataset: str
    normalization: str = ""
    preset: str
    settings: dict[str, Any]
    trials: _Count | None
    time: _Amount | None = None  # an earlier release had it in the space file alone
    concurrent: _Count | None
    workers: _Count | None
    gpus_per_worker: _Amount | None
    cpus: _Count | None = None  # an earlier release had none of this, nor of the next two
    hung_after: _Amount | None = None
    fuse: _Count | None = None
    tracking_uri: str
    refit: Annotated[Refit | None, PlainValidator(read_refit)] = None  # an earlier release had none
    confirm: Annotated[Confirm | None, PlainValidator(read_confirm)] = None  # nor this
    ablation: Annotated[Ablation | None, PlainValidator(read_ablation)] = None  # nor this
    environment: dict[str, Any] = {}  # noqa: RUF012  (pydantic copies it)
    layout: str | None = None
    per_trial: TrialResources | None = None  # an earlier release kept the layout as a text alone
    space: str | None = None
    early_terminate: str | None = None  # an earlier release stopped nothing early unless the space file said so


def new_plan(request: SearchRequest) -> Plan:
    """Open the data of a new search, and write the search into its folder. Raises UsageError for what does not fit."""
    plan = plan_of(request, *request.open_data())
    write_text(plan.folder / SPACE, plan.space.path.read_text(encoding="utf-8-sig"))
    keep_plan(plan)
    return plan


def plan_of(request: SearchRequest, source: DataSource, store: Store) -> Plan:
    """The plan of a new search, on data that are open. Writes nothing."""
    return Plan(
        folder=request.folder,
        space=request.space,
        preset=request.preset,
        settings=request.settings,
        source=source,
        dataset=store.dataset,
        fingerprint=store.fingerprint,
        trials=request.trials,
        resources=request.resources,
        tracking_uri=request.tracking_uri,
        refit=request.refit,
        confirm=request.confirm,
        ablation=request.ablation,
        new=True,
        normalization=store.normalization,
    )


def resumed_plan(
    name: str,
    *,
    space_name: str | None,
    kept_options: Mapping[str, Any],
    storage: Path,
    trials: int | None,
    time: str | None = None,
    retry_failed: bool = False,
    refit: bool | None = None,
    confirm: bool | None = None,
    ablation: bool | None = None,
    resources: ResourceRequest,
    tracking_uri: str | None,
    data: Place | None = None,
) -> Plan:
    """The plan of an earlier search. kept_options: as those of `earlier_run`. resources: replace what was asked before.

    Writes nothing: `keep_plan` does, once the search is known to go on.

    time: how long the trials may run in all sessions together, as typed; None: as was asked before.
    refit, confirm, ablation: whether to refit the finalists, to confirm them, and to run the path from the start point
    to the best trial; None: as was asked before. An earlier release knew of none of them.

    space_name: the changed space file of a comparison, with added cells or seeds; it replaces the earlier one.
    data: where its store lies now, if it has moved.
    """
    path = earlier_run(storage, name, SEARCH_FILE, kept=kept_options)
    folder, kept = path.parent, read_plan(path, KeptPlan)
    source = {"data": data or kept.data, "fingerprint": kept.fingerprint}
    store = check_same_data(path, source, given=data)
    started = max(trial_folders(folder), default=-1) + 1
    if trials is not None and trials < started:
        raise UsageError(f"--trials {trials}: {folder.name} has started {started}; ask for more, or leave it out")
    space = read_space(folder / SPACE)
    used = Clock(folder / CLOCK).seconds
    given = typed_seconds(time)
    if given is not None and given <= used:
        raise UsageError(
            f"--time {time}: {folder.name} has run {time_span(used)}; ask for more in all, or leave it out"
        )
    settings = kept_settings(f"{folder / SEARCH_FILE}: settings", kept.settings)
    asked, limit = trials or kept.trials, given or kept.time
    if space_name is not None:
        space, asked, limit = _changed_table(folder, space, space_name, settings, store.layout), trials, given
    if space.default_stopping and kept.early_terminate is None:
        space = replace(space, default_stopping=False)
    changed_space = space.path.read_text(encoding="utf-8-sig") if space_name is not None else None
    space = replace(space, seconds=limit or space.seconds)
    resources = resources.or_else(ResourceRequest(**kept.model_dump(include=_RESOURCES)))
    check_fused(space, settings, resources.fuse)
    return Plan(
        folder=folder,
        space=space,
        preset=kept.preset,
        settings=settings,
        source=source_of(data or kept.data, kept.protocol),
        dataset=kept.dataset,
        fingerprint=store.fingerprint,
        trials=trial_count(space, asked, settings),
        resources=resources,
        tracking_uri=kept_tracking_uri(path, kept.tracking_uri, tracking_uri),
        refit=refit_of(space, kept.refit, refit),
        confirm=confirm_of(space, kept.confirm, confirm),
        ablation=ablation_of(space, kept.ablation, ablation),
        id=kept.id,
        environment=kept.environment,
        normalization=kept.normalization,
        last_layout=KeptLayout(kept.layout, kept.per_trial) if kept.layout else None,
        retry_failed=retry_failed,
        lasting=kept.model_dump(
            include={"layout", "per_trial", *(() if space_name is not None else ("space",))}, exclude_unset=True
        ),
        changed_space=changed_space,
    )


def _changed_table(folder: Path, kept: Space, name: str, settings: Settings, layout: Layout) -> Space:
    """The changed space file of a comparison, of which only cells, seeds and claims may differ."""
    space = read_space(find_space(name))
    if not kept.comparison or not space.comparison:
        raise UsageError("--space: a resumed search keeps its own; only a table may get more cells and seeds")
    for key, ours, theirs in (
        ("metric", (space.metric, space.maximize), (kept.metric, kept.maximize)),
        ("settings", space.settings, kept.settings),
        ("cells: settings", sorted(space.parameters), sorted(kept.parameters)),
    ):
        if ours != theirs:
            raise UsageError(f"{space.path}: {key}: not as in {folder.name}; start a new search")
    if dropped := [seed for seed in kept.comparison.seeds if seed not in space.comparison.seeds]:
        gone = ", ".join(map(str, dropped))
        raise UsageError(f"{space.path}: seeds: {folder.name} has {gone}, too; a table may get more seeds, not fewer")
    space.check(settings.model_dump())
    check_metrics(space, settings)
    check_joints(space, settings, layout)
    return space


def keep_plan(plan: Plan, layout: ResourcePlan | None = None) -> None:
    """Write the plan file, and a changed space file. layout: how the trials of this session are laid out."""
    if plan.changed_space is not None:
        write_text(plan.folder / SPACE, plan.changed_space)
    content = {
        "name": plan.name,
        "id": plan.id,
        "space": str(plan.space.path),
        "method": method_title(plan.space, plan.trials),
        "early_terminate": rule.type if (rule := stopping_rule(plan.space)) else "none",
        "dataset": plan.dataset,
        "normalization": plan.normalization,
        "data": str(plan.source.place),
        "fingerprint": plan.fingerprint,
        "protocol": plan.source.protocol,
        "preset": plan.preset,
        "settings": plan.settings.model_dump(mode="json"),
        "trials": plan.trials,
        "time": plan.space.seconds,
        "confirm": confirm_content(plan.confirm),
        "refit": refit_content(plan.refit),
        "ablation": ablation_content(plan.ablation),
        **asdict(plan.resources),
        "tracking_uri": relative_uri(redact(plan.tracking_uri), plan.folder.parent),
        "environment": plan.environment,
        **plan.lasting,
        **({"layout": str(layout), "per_trial": asdict(layout.per_trial)} if layout else {}),
    }
    write_text(plan.folder / SEARCH_FILE, dump_yaml(write_paths(content, plan.folder.parent)))
