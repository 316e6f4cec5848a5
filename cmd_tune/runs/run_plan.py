"""The plan of a run, resolved: written into its folder, and read again when the run is resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, field_serializer

from cmd_tune.data.store import Store, open_store
from cmd_tune.errors import UsageError
from cmd_tune.files import home_path, write_text
from cmd_tune.mistakes import found, refusal
from cmd_tune.redact import redact
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.environment import describe_environment
from cmd_tune.runs.run_folder import earlier_run, removed_on_failure, resume_line
from cmd_tune.settings import read_settings
from cmd_tune.tracking import Identity, earlier_identity, resumed_tracking_uri
from cmd_tune.yaml_files import dump_yaml


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"should be a path; found {found(value)}")
    return home_path(value)


HomePath = Annotated[Path, PlainValidator(_path)]  # with ~ for the home folder
T = TypeVar("T", bound=BaseModel)


class KeptData(BaseModel):
    """The keys of a plan file that say which data its run uses."""

    data: HomePath
    fingerprint: str | None = None
    protocol: str


def read_plan(path: Path, model: type[T]) -> T:
    """The keys of a plan file that `model` has. Raises UsageError if it lacks one, a line per mistake."""
    try:
        return model.model_validate(read_settings(path))
    except ValidationError as error:
        raise refusal(str(path), error) from None


class RunPlan(BaseModel):
    """The plan of a run of one command. Its fields are the keys of the plan file, but for `folder` and `new`.

    A command's plan adds fields. A field with a default may be absent in a file that an earlier release wrote.
    """

    model_config = ConfigDict(frozen=True)

    command: ClassVar[str]
    file: ClassVar[str]  # name of the plan file

    folder: Path = Field(exclude=True)
    new: bool = Field(default=False, exclude=True)  # not resumed
    data: HomePath
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
        cls, name: str, *, kept_options: Mapping[str, Any], storage: Path, tracking_uri: str | None = None
    ) -> Self:
        """The plan of an earlier run, as it was but for the tracking URI. Arguments and errors as those of
        `earlier_run` and `resumed_tracking_uri`.

        Raises UsageError if the file lacks something, or if its data have changed.
        """
        path = earlier_run(storage, name, cls.file, kept=kept_options)
        content = read_settings(path)
        try:
            plan = cls.model_validate({**content, "folder": path.parent, "new": False})
        except ValidationError as error:
            raise refusal(str(path), error) from None
        check_same_data(path, content)
        return plan.model_copy(update={"tracking_uri": resumed_tracking_uri(tracking_uri, plan.tracking_uri, storage)})

    def write(self) -> None:
        """Write the plan file; if that fails, remove the folder."""
        content = self.model_dump(mode="json")
        common = {key: content.pop(key) for key in RunPlan.model_fields if key in content}
        with removed_on_failure(self.folder):
            write_text(self.folder / self.file, dump_yaml({**content, **common}))

    def keep_record(self) -> None:
        """Write into the plan file of a resumed run where it is recorded now, and its identity if there was none."""
        path = self.folder / self.file
        content = read_settings(path)
        record = self.model_dump(mode="json", include={"id", "tracking_uri"})
        if content != (changed := {**content, **record}):
            write_text(path, dump_yaml(changed))

    @field_serializer("tracking_uri")
    def _without_password(self, uri: str) -> str:
        return redact(uri)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def experiment(self) -> str:
        return experiment_name(self.dataset, self.protocol, self.normalization)

    @property
    def source(self) -> DataSource:
        return DataSource(self.data, self.protocol)


def data_fields(source: DataSource, store: Store) -> dict[str, Any]:
    """The fields of a plan that say which data its run uses."""
    return {
        "data": source.path,
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


def check_same_data(plan: Path, kept: Mapping[str, Any]) -> Store:
    """The store that a plan file names. kept: the file's `data` and `fingerprint`.

    Raises UsageError if the store has changed.
    """
    store = open_store(home_path(kept["data"]))
    if (kept.get("fingerprint") or store.fingerprint) != store.fingerprint:
        raise UsageError(
            f"{plan}: data: {store.path} is no longer what this run began with; put it back, or start a new run"
        )
    return store
