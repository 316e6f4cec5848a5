"""The MLflow UI: how it is opened, and the view of a search that it shows first."""

import getpass
import json
import re
import shlex
import sys
from contextlib import suppress
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from cmd_tune.redact import redact
from cmd_tune.tracking.base import Page, RunSnapshot
from cmd_tune.tracking.mlflow.charts import chart_view
from cmd_tune.tracking.mlflow.experiment import NOTE
from cmd_tune.tracking.mlflow.uris import is_server, without_credentials

_VIEW = "mlflow.sharedViewState."  # tag of an experiment: a view that an address can name
_FIXED = {"attributes.`Run Name`": 200, "runDateAndNestInfo": 135}  # columns that are always there, in pixels
_ARTIFACT = re.compile(r"\]\(artifact:([^)]*)\)")  # of a link or an image in Markdown
_TAG = 250  # pixels of a tag's column
_DATA = "attributes.`Dataset`"
_LOCAL = "http://127.0.0.1:5000"  # of the command that serves a database


def page_tag(page: Page, identity: str, run_id: str) -> tuple[str, str]:
    """The experiment's tag that holds the view: (key, JSON). run_id: of the search, whose trials are unfolded."""
    kinds = {"metrics": page.metrics, "params": page.params, "tags": page.tags}
    columns = [*(f"{kind}.`{name}`" for kind, names in kinds.items() for name in names), _DATA]
    widths = {column: _TAG if column.startswith("tags.") else max(100, 7 * len(column) - 30) for column in columns}
    view: dict[str, Any] = {
        "searchFilter": f"tags.`cmd_tune.id` = '{identity}'",
        "selectedColumns": columns,
        "columnOrder": [*_FIXED, *columns],  # without it they are sorted by name
        "columnWidths": {**_FIXED, **widths},
        "runsExpanded": {run_id: True},
        **chart_view(page),
    }
    if page.order:
        view |= {"orderByKey": f"metrics.`{page.order}`", "orderByAsc": page.ascending}
    return f"{_VIEW}{view_key(identity)}", json.dumps(view)


def note_tag(snapshot: RunSnapshot, run_id: str) -> dict[str, str]:
    """The tag that the UI shows as the description of a run; no tag if there is no note."""
    if not snapshot.note:
        return {}
    # The UI's own way to an artifact. It is relative, as all that the UI loads, so that it holds behind a proxy.
    where = f"](get-artifact?run_uuid={run_id}&path="
    return {NOTE: _ARTIFACT.sub(lambda found: where + quote(found[1]) + ")", snapshot.note)}


def user_tag() -> dict[str, str]:
    """The tag by which MLflow knows who made a run; no tag where users have no names, as in some containers."""
    with suppress(OSError, KeyError, ImportError):
        return {"mlflow.user": getpass.getuser()}
    return {}


def view_key(identity: str) -> str:
    """The name of a search's view in an address."""
    return blake2b(identity.encode(), digest_size=6).hexdigest()


def page_address(server: str, experiment_id: str, identity: str) -> str:
    """Address of the view of a search."""
    where = f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs"
    return f"{where}?workflowType=machine_learning&viewStateShareKey={view_key(identity)}"


def ui_command(uri: str) -> str:
    """The command that serves a database's UI on this machine; *** stands for a password."""
    return shlex.join(
        [
            sys.executable,
            "-m",
            "mlflow",
            "ui",
            "--backend-store-uri",
            redact(uri),
            "--host",
            "127.0.0.1",
            "--port",
            "5000",
        ]
    )


def links(uri: str, experiment_id: str, identity: str) -> list[str]:
    """Lines that open the UI: a command if it is a database; then the search's address, or the server's until known."""
    server = without_credentials(uri) if is_server(uri) else _LOCAL
    page = page_address(server, experiment_id, identity) if experiment_id else ""
    if is_server(uri):
        return [page or server]
    return [ui_command(uri), *([page] if page else [])]
