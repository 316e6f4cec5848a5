"""Files among a data set's that are no data: what systems and archivers leave there, and lists of missing samples."""

import re
from pathlib import PurePath

_OF_SYSTEMS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"})
# NTU_RGBD_samples_with_missing_skeletons.txt, NTU_RGBD120_…; `ingest --exclude` takes them.
_LIST = re.compile(r"samples_with_missing_skeletons?\.txt$", re.IGNORECASE)


def is_data(name: str) -> bool:
    """Whether a file may hold data. name: its path inside the source. Hidden files, ._NAME and .DS_Store, do not."""
    parts = PurePath(name).parts
    return not any(part.startswith(".") or part.lower() in _OF_SYSTEMS for part in parts) and not _LIST.search(name)
