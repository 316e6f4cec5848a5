"""What names of clips say."""

import pytest

from cmd_tune.data.clip_names import ClipName, clip_name, data_set, parse_clip_name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("S017C003P020R002A060", ClipName("ntu", 20, 3, 17, 60)),
        ("a01_s10_e03_v02", ClipName("nw-ucla", 10, 2, action=1)),
        ("A01N02-L", ClipName("pku-mmd-2", 2, 1)),
        ("A01N02-R.3", ClipName("pku-mmd-2", 2, 3)),
        ("A01N02-X", None),
        ("S017C003P020R002A0600", None),
        ("xS017C003P020R002A060", None),
        ("", None),
    ],
)
def test_the_numbers_in_a_name(name, found):
    assert parse_clip_name(name) == found


def test_a_file_is_named_without_its_folder_and_its_reader():
    assert clip_name("a/b/S001C001P001R001A001.skeleton") == "S001C001P001R001A001"
    assert clip_name("a01_s01_e00_v01.json") == "a01_s01_e00_v01"
    assert clip_name("some.clip") == "some.clip"


NTU = "S017C001P001R001A001"


@pytest.mark.parametrize(
    ("names", "classes", "found"),
    [
        ([NTU], 60, "ntu-60"),
        ([NTU], 61, "ntu-120"),
        ([NTU, "S018C001P001R001A001"], 2, "ntu-120"),
        (["a01_s10_e03_v02"], 10, "nw-ucla"),
        ([NTU, "a01_s10_e03_v02"], 10, "other"),
        ([NTU, "mine"], 10, "other"),
        (["mine"], 10, "other"),
        ([], 10, "other"),
    ],
)
def test_the_data_set_that_all_names_are_of(names, classes, found):
    assert data_set(names, classes, "other") == found
