"""The plan of a run, resolved: written into its folder, and read again when the run is resumed."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, field_serializer

from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.files import home_path, write_text
from cmd_tune.mistakes import found, refusal
from cmd_tune.redact import redact
from cmd_tune.remote_files import Place, looks_like_uri
from cmd_tune.runs.data_source import DataSource, open_place, source_of
from cmd_tune.runs.environment import describe_environment
from cmd_tune.runs.kept_paths import read_paths, write_paths
from cmd_tune.runs.run_folder import earlier_run, removed_on_failure, resume_line
from cmd_tune.runs.run_records import data_input
from cmd_tune.settings import read_settings
from cmd_tune.tracking import DataInput, Identity, earlier_identity, relative_uri, resumed_tracking_uri
from cmd_tune.yaml_files import dump_yaml


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"should be a path; found {found(value)}")
    return home_path(value)


def _place(value: Any) -> Place:
    return value if isinstance(value, str) and looks_like_uri(value) else _path(value)


DataPlace = Annotated[Path | str, PlainValidator(_place)]  # a path, or the URI of an object store
HomePath = Annotated[Path, PlainValidator(_path)]  # with ~ for the home folder
T = TypeVar("T", bound=BaseModel)
NOTHING: Mapping[str, Place | None] = MappingProxyType({})


class KeptData(BaseModel):
    """The keys of a plan file that say which data its run uses."""

    data: DataPlace
    fingerprint: str | None = None
    protocol: str


def read_content(path: Path) -> dict[str, Any]:
    """A plan file, with the paths that it keeps as they are now: the storage may have moved since."""
    return read_paths(read_settings(path), Path(os.path.abspath(path)).parents[1])


def read_plan(path: Path, model: type[T]) -> T:
    """The keys of a plan file that `model` has. Raises UsageError if it lacks one, a line per mistake."""
    try:
        return model.model_validate(read_content(path))
    except ValidationError as error:
        raise refusal(str(path), error) from None


def kept_tracking_uri(plan: Path, kept: str, given: str | None = None) -> str:
    """The tracking URI of a resumed run: the given one, else that of its plan file, wherever the storage is now."""
    try:
        return resumed_tracking_uri(given, kept, plan.parents[1])
    except UsageError as error:
        raise UsageError(f"{plan}: {error}" if str(error).startswith("tracking_uri") else str(error)) from None


class RunPlan(BaseModel):
    """The plan of a run of one command. Its fields are the keys of the plan file, but for `folder` and `new`.

    A command's plan adds fields. A field with a default may be absent in a file that an earlier release wrote.
    """

    model_config = ConfigDict(frozen=True)

    command: ClassVar[str]
    file: ClassVar[str]  # name of the plan file

    folder: Path = Field(exclude=True)
    new: bool = Field(default=False, exclude=True)  # not resumed
    data: DataPlace
    fingerprint: str | None = None  # of the data
    protocol: str
    dataset: str
    normalization: str = ""  # of the data; empty in files of earlier releases
    tracking_uri: str  # with its password, which is not kept
    id: Identity = Field(default_factory=earlier_identity)  # on the tracking server, where names may be equal
    environment: dict[str, Any] = Field(default_factory=describe_environment)  # of the first session

    @property
    def resume(self) -> str:
        """The command that goes on with the run."""
        return resume_line(self.command, self.folder)

    @classmethod
    def resumed(
        cls,
        name: str,
        *,
        kept_options: Mapping[str, Any],
        storage: Path,
        tracking_uri: str | None = None,
        given: Mapping[str, Place | None] = NOTHING,
    ) -> Self:
        """The plan of an earlier run, as it was but for the tracking URI. Arguments and errors as those of
        `earlier_run` and `kept_tracking_uri`.

        given: fields → paths that replace those of the plan file, where they are not None.
        Raises UsageError if the file lacks something, or if its data have changed.
        """
        path = earlier_run(storage, name, cls.file, kept=kept_options)
        content = read_content(path) | {key: place for key, place in given.items() if place is not None}
        try:
            plan = cls.model_validate({**content, "folder": path.parent, "new": False})
        except ValidationError as error:
            raise refusal(str(path), error) from None
        check_same_data(path, content, given=given.get("data"))
        return plan.model_copy(update={"tracking_uri": kept_tracking_uri(path, plan.tracking_uri, tracking_uri)})

    def write(self) -> None:
        """Write the plan file."""
        content = write_paths(self.model_dump(mode="json"), self.storage)
        content["tracking_uri"] = relative_uri(content["tracking_uri"], self.storage)
        common = {key: content.pop(key) for key in RunPlan.model_fields if key in content}
        write_text(self.folder / self.file, dump_yaml({**content, **common}))

    def write_new(self) -> None:
        """Write the plan file; if that fails, remove the folder."""
        with removed_on_failure(self.folder):
            self.write()

    def keep_record(self) -> None:
        """Write into the plan file of a resumed run where it is recorded now, and its identity if there was none."""
        path = self.folder / self.file
        content = read_settings(path)
        record = self.model_dump(mode="json", include={"id", "tracking_uri"})
        record["tracking_uri"] = relative_uri(record["tracking_uri"], self.storage)
        if content != (changed := {**content, **record}):
            write_text(path, dump_yaml(changed))

    @field_serializer("tracking_uri")
    def _without_password(self, uri: str) -> str:
        return redact(uri)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def storage(self) -> Path:
        return self.folder.parent

    @property
    def experiment(self) -> str:
        return experiment_name(self.dataset, self.protocol, self.normalization)

    @property
    def source(self) -> DataSource:
        return source_of(self.data, self.protocol)

    def data_input(self, context: str) -> DataInput | None:
        """Its data as the tracker shows them; None if their content is not known, as in files of earlier releases."""
        if self.fingerprint is None:
            return None
        return data_input(self.dataset, self.fingerprint, self.data, self.protocol, self.normalization, context=context)


def data_fields(source: DataSource, store: Store) -> dict[str, Any]:
    """The fields of a plan that say which data its run uses."""
    return {
        "data": source.place,
        "fingerprint": store.fingerprint,
        "protocol": source.protocol,
        "dataset": store.dataset,
        "normalization": store.normalization,
    }


def experiment_name(dataset: str, protocol: str, normalization: str) -> str:
    """Runs on one data set, under one protocol and one normalisation, are compared with each other.

    The normalisation of 2s-agcn, and of plans that name none, is not written.
    """
    family = "" if normalization in ("", "2s-agcn") else f"-{normalization}"
    return f"{dataset}-{protocol}{family}"


def check_same_data(
    plan: Path, kept: Mapping[str, Any], *, given: Place | None = None, option: str = "--data"
) -> Store:
    """The store that a run goes on with. kept: `data` and `fingerprint`, as in the plan file or as they are to be.

    given: the path that was typed for it now, if one was, behind `option`. Raises UsageError if the store has changed.
    """
    place = _place(kept["data"])
    store = open_place(place)
    if (kept.get("fingerprint") or store.fingerprint) != store.fingerprint:
        if given is not None:
            raise UsageError(
                f"{option} {given}: holds other clips than {plan.parent.name} began with; name the same store, or "
                "start a new run"
            )
        raise UsageError(
            f"{plan}: data: {place} is no longer what this run began with; put it back, or start a new run"
        )
    return store
