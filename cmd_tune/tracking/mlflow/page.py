"""What a person sees first in the MLflow UI: the trials of a search, its few columns that matter, best first."""

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

_VIEW = "mlflow.sharedViewState."  # tag of an experiment: a view that an address can name
_FIXED = {"attributes.`Run Name`": 130, "runDateAndNestInfo": 135}  # columns that are always there, in pixels


@dataclass(frozen=True)
class Page:
    """How the runs of one search are shown. columns: metrics; then parameters. order: the metric they are sorted by."""

    metrics: tuple[str, ...]
    params: tuple[str, ...] = ()
    order: str = ""
    ascending: bool = False

    def tag(self, search: str, run_id: str) -> tuple[str, str]:
        """The experiment's tag that holds the view: (key, JSON). run_id: of the search, whose trials are unfolded."""
        columns = [*(f"metrics.`{name}`" for name in self.metrics), *(f"params.`{name}`" for name in self.params)]
        view: dict[str, Any] = {
            "searchFilter": f"tags.`cmd_tune.search` = '{search}'",
            "selectedColumns": columns,
            "columnOrder": [*_FIXED, *columns],  # without it they stand in the order of the alphabet
            "columnWidths": {**_FIXED, **{column: max(100, 7 * len(column) - 30) for column in columns}},
            "runsExpanded": {run_id: True},
        }
        if self.order:
            view |= {"orderByKey": f"metrics.`{self.order}`", "orderByAsc": self.ascending}
        return f"{_VIEW}{view_key(search)}", json.dumps(view)


def view_key(search: str) -> str:
    """Names a search's view in an address."""
    return blake2b(search.encode(), digest_size=6).hexdigest()


def page_address(server: str, experiment_id: str, search: str) -> str:
    """Where a browser finds the view of a search."""
    where = f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs"
    return f"{where}?workflowType=machine_learning&viewStateShareKey={view_key(search)}"
