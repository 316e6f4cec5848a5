"""The smallest tracker that keeps the contract: each run is a JSON file in the folder that its URI names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmd_tune.files import write_text
from cmd_tune.tracking import RunKey, RunSnapshot, Tracker


class FileTracker(Tracker[dict[str, Any]]):
    title = "the folder"

    def open(self) -> None:
        Path(self.uri).mkdir(exist_ok=True)

    def write(self, snapshot: RunSnapshot, written: dict[str, Any] | None) -> dict[str, Any]:
        path = self._path(snapshot.key)
        if written is None:
            written = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"metrics": {}}
        metrics = written["metrics"]
        for record in snapshot.epochs:
            for name, value in record.items():
                metrics.setdefault(name, {})[str(int(record["epoch"]))] = value
        now = {"name": snapshot.name, "params": snapshot.params, "metrics": metrics, "reason": snapshot.reason}
        status = {"status": snapshot.status} if snapshot.status else {}
        written = {**written, **now, **status}
        write_text(path, json.dumps(written))
        return written

    def upload(self, path: Path, written: dict[str, Any]) -> dict[str, Any]:
        return written

    def missing(self, written: Mapping[RunKey, dict[str, Any]]) -> list[RunKey]:
        return [key for key in written if not self._path(key).exists()]

    def links(self) -> list[str]:
        return [self.uri]

    def _path(self, key: RunKey) -> Path:
        return Path(self.uri) / f"{self.identity}-{'search' if key is None else key}.json"
