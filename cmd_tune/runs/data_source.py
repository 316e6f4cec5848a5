"""The data of a run: a store and a protocol. Without a store, made-up actions are stored on first use."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from cmd_tune.data.fetched_store import fetch, fetched_before
from cmd_tune.data.splits import Holdout, Split, split_store
from cmd_tune.data.store import SCHEMA_VERSION, Store, open_store
from cmd_tune.remote_files import Place

SYNTHETIC = "synthetic"  # the made-up data set
_SYNTHETIC_FILE = f"{SYNTHETIC}-{SCHEMA_VERSION}.arrow"


@dataclass(frozen=True)
class DataSource:
    """A store, by its path, and the protocol that splits it. Every process opens the same memory map.

    uri: of a store that lies at one; the path is then that of the copy on the machine where the run was started.
    """

    path: Path
    protocol: str
    uri: str = ""

    @property
    def place(self) -> Place:
        """What names it on every machine."""
        return self.uri or self.path

    def store(self) -> Store:
        return open_store(fetched_before(self.uri, self.path) if self.uri else self.path)

    def open(self, holdout: Holdout) -> tuple[Store, Split]:
        store = self.store()
        return store, split_store(store, self.protocol, holdout)[1]


def open_place(place: Place) -> Store:
    """The store at a path or a URI."""
    return open_store(fetch(place) if isinstance(place, str) else place)


def source_of(place: Place, protocol: str) -> DataSource:
    """The source at a path or a URI, from which it is fetched."""
    if isinstance(place, str):
        return DataSource(fetch(place), protocol, place)
    return DataSource(Path(os.path.abspath(place)), protocol)


def open_data(storage: Path, data: Place | None, protocol: str | None) -> tuple[DataSource, Store]:
    """The store at `data`, else the made-up one in the storage; under `protocol`, else the data set's first."""
    source = source_of(data or _synthetic_store(storage), protocol or "")
    store = source.store()
    name, _ = split_store(store, protocol, "none")
    return replace(source, protocol=name), store


def made_before(storage: Path) -> bool:
    """Whether a storage has the made-up actions."""
    return _synthetic_path(storage).exists()


def _synthetic_path(storage: Path) -> Path:
    return storage.absolute() / "data" / _SYNTHETIC_FILE


def _synthetic_store(storage: Path) -> Path:
    # Here, since the processes of trials, which make no data, start sooner without these.
    from cmd_tune.data.ingest.ingest import store_clips
    from cmd_tune.data.layouts import LAYOUTS
    from cmd_tune.data.synthetic import synthesize

    path = _synthetic_path(storage)
    if not path.exists():
        store_clips(synthesize(), path, dataset=SYNTHETIC, layout=LAYOUTS["ntu-25"], normalization="2s-agcn")
    return path
