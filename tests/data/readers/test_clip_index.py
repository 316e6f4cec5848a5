"""index.csv: the lines of it, and each way it can be wrong."""

from pathlib import Path

import pytest

from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.data.readers.clip_index import INDEX, IndexedClip, read_index
from cmd_tune.errors import DataError

TEXT = """file,label,subject,camera,setup,split,split_xview
a/one.npy,0,3,1,2,train,test
b/one.npy,4,,,,test,
"""


def read(folder: Path, text: str | bytes = TEXT) -> list[IndexedClip]:
    folder.mkdir(exist_ok=True)
    (folder / INDEX).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_index(ClipFiles(folder, INDEX))


def test_lines_are_clips(tmp_path: Path) -> None:
    assert read(tmp_path / "x") == [
        IndexedClip("a/one.npy", "a-one", 0, 3, 1, 2, {"given": 1, "xview": 2}),
        IndexedClip("b/one.npy", "b-one", 4, 0, 0, 0, {"given": 2, "xview": 0}),
    ]


def test_an_index_inside_a_folder_names_files_from_there(tmp_path: Path) -> None:
    read(tmp_path / "inside")
    (found, _) = read_index(ClipFiles(tmp_path, INDEX))
    assert (found.file, found.name) == ("inside/a/one.npy", "a-one")


def test_what_spreadsheets_write(tmp_path: Path) -> None:
    """A mark of UTF-8, CRLF, blanks, quotes, an empty line."""
    (clip,) = read(tmp_path / "x", b'\xef\xbb\xbffile, label\r\n"a, b.json", 7\r\n\r\n')
    assert (clip.file, clip.name, clip.label) == ("a, b.json", "a, b", 7)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no column 'file'"),
        ("file\na.npy", "has no column 'label'"),
        ("file,lable\na.npy,1", "unknown column 'lable', did you mean 'label'?"),
        ("file,label\n", "names no clips"),
        ("file,label\na.npy,squat", "line 2: label: 'squat' is not a whole number"),
        ("file,label\na.npy,-1", "line 2: label: '-1' is not a whole number"),
        ("file,label\na.npy,", "line 2: label: '' is not a whole number"),
        ("file,label\na.npy," + "9" * 5000, "is not a whole number"),
        ("file,label,subject\na.npy,0,²", "subject: '²' is not a whole number"),
        ("file,label\na.npy", "line 2: not as many cells as the heading has, or no file"),
        ("file,label\na.npy,1,2", "line 2: not as many cells as the heading has, or no file"),
        ("file,label\n,1", "line 2: not as many cells as the heading has, or no file"),
        ("file,label\n/etc/a.npy,1", "line 2: '/etc/a.npy' is not inside the folder of the index.csv"),
        ("file,label\nb/../../a.npy,1", "line 2: 'b/../../a.npy' is not inside the folder of the index.csv"),
        ("file,label,split\na.npy,1,dev", "line 2: split: 'dev' is not 'train', 'test' or empty"),
        ('file,label\n"a.npy,1', "not a CSV text"),
        (b"file,label\n\xff,1", "not a CSV text"),
        (b"file,label\n\0,1\0", "is not a whole number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, what: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "x", text)
    assert str(caught.value).startswith(f"{tmp_path / 'x'}: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_there_must_be_one_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no index\.csv"):
        read_index(ClipFiles(tmp_path, INDEX))
    read(tmp_path / "x")
    read(tmp_path / "y")
    with pytest.raises(DataError, match=r"holds more than one index\.csv"):
        read_index(ClipFiles(tmp_path, INDEX))
