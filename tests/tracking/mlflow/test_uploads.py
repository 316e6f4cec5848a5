"""Files of runs: told apart by their content; how long MLflow waits for each."""

import os
from pathlib import Path

import pytest

from cmd_tune.tracking.mlflow.uploads import file_digest, files_tag, text_digest, time_to_upload, uploaded


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(bytes(3_000_000))
    second.write_bytes(bytes(3_000_000))
    assert file_digest(first) == file_digest(second)
    second.write_bytes(bytes(2_999_999) + b"1")
    assert file_digest(first) != file_digest(second)
    first.write_text("topk: 8")
    assert file_digest(first) == text_digest("topk: 8")
    assert len(file_digest(first)) == 16


def test_the_tag_is_read_as_it_was_written_and_a_broken_one_is_none() -> None:
    files = {"best.yaml": "0123", "checkpoint.pt": "4567"}
    assert uploaded({**files_tag(files), "other": "x"}) == files
    for text in ("", "{", "[]", '{"a": '):
        assert uploaded({"cmd_tune.files": text}) == {}
    assert uploaded({}) == {}


@pytest.mark.parametrize(
    ("own", "size", "seconds"),
    [("30", 1_000, "60"), ("30", 500_000_000, "560"), ("900", 1_000, "900"), (None, 0, "60")],
)
def test_a_large_file_has_a_second_more_for_each_megabyte(
    monkeypatch: pytest.MonkeyPatch, own: str | None, size: int, seconds: str
) -> None:
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    if own is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, own)
    with time_to_upload(size):
        assert os.environ[name] == seconds
    assert os.environ.get(name) == own
