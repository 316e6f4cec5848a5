"""What the tests of the search floor share: space files and studies."""

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import pytest
import yaml

from cmd_tune.data.store import Store
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import Plan, new_plan, resumed_plan
from cmd_tune.search.request import SearchRequest, check_request, read_space
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.settings import Settings

SPACE = {
    "method": "tpe",
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {
        "teacher_temperature": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.2},
        "student_temperature": {"distribution": "log_uniform_values", "min": 0.05, "max": 1.0},
    },
    "points_to_evaluate": [{"teacher_temperature": 0.05, "student_temperature": 0.1}],
    "budget": {"trials": 4},
}


@pytest.fixture
def make_space(tmp_path: Path) -> Callable[..., Space]:
    """Writes a space file and reads it: the temperatures, with top-level keys changed; None leaves a key out."""

    def make(**changes: object) -> Space:
        content = {key: value for key, value in {**SPACE, **changes}.items() if value is not None}
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return read_space(path)

    return make


@pytest.fixture
def open_study(tmp_path: Path, tiny: Callable[..., Settings]) -> Callable[..., SearchStudy]:
    """Opens the study of the search in tmp_path / "search", the same one each time."""

    def make(space: Space, trials: int = 4, **settings: object) -> SearchStudy:
        folder = tmp_path / "search"
        folder.mkdir(exist_ok=True)
        return SearchStudy(folder, space, tiny(**settings), "quick", trials)

    return make


@pytest.fixture
def request_of(make_space: Callable[..., Space], tiny_store: Store, tmp_path: Path) -> Callable[..., SearchRequest]:
    """A dry request of the temperatures, 4 trials with one start point, on 36 clips."""

    def make(*overrides: str, trials: int | None = None, cpus: int = 4, **changes: object) -> SearchRequest:
        return check_request(
            str(make_space(**changes).path),
            storage=tmp_path / "runs",
            data=tiny_store.path,
            protocol="xview",
            name=None,
            preset=None,
            overrides=["batch_size=8", *overrides],
            trials=trials,
            resources=ResourceRequest(cpus=cpus),
            tracking_uri=None,
            dry=True,
        )

    return make


@pytest.fixture
def plan(make_space: Callable[..., Space], tiny_store: Store, tmp_path: Path) -> Callable[..., Plan]:
    """Plans a search of a space file with these keys changed, judged by this metric; `more` is typed after --set."""
    numbers = count()

    def make(metric: str, *more: str, data: Store = tiny_store, **changes: object) -> Plan:
        space = make_space(metric={"name": metric, "goal": "minimize"}, **changes)
        return new_plan(
            check_request(
                str(space.path),
                storage=tmp_path / "runs",
                name=f"it-{next(numbers)}",
                data=data.path,
                protocol="xview",
                preset=None,
                overrides=["batch_size=8", *more],
                trials=None,
                resources=ResourceRequest(),
                tracking_uri=None,
            )
        )

    return make


@pytest.fixture
def typed(make_space: Callable[..., Space], tmp_path: Path) -> Callable[..., SearchRequest]:
    """Requests a search without data, by this name and with these options; top-level keys of the space file change."""

    def make(name: str | None, options: Mapping[str, bool | None], **changes: object) -> SearchRequest:
        path = str(make_space(**changes).path)
        return check_request(
            path, storage=tmp_path / "runs", name=name, data=None, protocol=None, preset=None, overrides=(),
            trials=None, resources=ResourceRequest(), tracking_uri=None, **options,
        )  # fmt: skip

    return make


@pytest.fixture
def resumed(tmp_path: Path) -> Callable[..., Plan]:
    """The plan of a search that is resumed by its name with these options."""

    def make(name: str, **options: bool | None) -> Plan:
        return resumed_plan(
            name, space_name=None, kept_options={}, storage=tmp_path / "runs", trials=None, resources=ResourceRequest(),
            tracking_uri=None, **options,
        )  # fmt: skip

    return make
