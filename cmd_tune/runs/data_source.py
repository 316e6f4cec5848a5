"""The data of a run: a store and a protocol. Without a store, made-up actions are stored on first use."""

from dataclasses import dataclass
from pathlib import Path

from cmd_tune.data.splits import Holdout, Split, split_store
from cmd_tune.data.store import SCHEMA_VERSION, Store, open_store

SYNTHETIC = "synthetic"  # the made-up data set
_SYNTHETIC_FILE = f"{SYNTHETIC}-{SCHEMA_VERSION}.arrow"


@dataclass(frozen=True)
class DataSource:
    """A store, by its path, and the protocol that splits it. Every process opens the same memory map."""

    path: Path
    protocol: str

    def open(self, holdout: Holdout) -> tuple[Store, Split]:
        store = open_store(self.path)
        return store, split_store(store, self.protocol, holdout)[1]


def open_data(storage: Path, data: Path | None, protocol: str | None) -> tuple[DataSource, Store]:
    """The store at `data`, else the made-up one in the storage; under `protocol`, else the data set's first."""
    store = open_store(data or _synthetic_store(storage))
    name, _ = split_store(store, protocol, "none")
    return DataSource(store.path, name), store


def _synthetic_store(storage: Path) -> Path:
    # Here, since the processes of trials, which make no data, start sooner without these.
    from cmd_tune.data.ingest.ingest import store_clips
    from cmd_tune.data.layouts import LAYOUTS
    from cmd_tune.data.synthetic import synthesize

    path = storage.absolute() / "data" / _SYNTHETIC_FILE
    if not path.exists():
        store_clips(synthesize(), path, dataset=SYNTHETIC, layout=LAYOUTS["ntu-25"], normalization="2s-agcn")
    return path
