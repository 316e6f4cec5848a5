"""What falls back to something slower: one line for a person, apart from all other warnings."""

import warnings

from cmd_tune.compute.slower import Slower, format_warning, heard, warn_slower


def test_it_is_heard_and_other_warnings_go_where_they_went():
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        with heard() as texts:
            warn_slower("half the speed:\n  no  compiler")
            warnings.warn("another", UserWarning, stacklevel=1)
        warn_slower("after")
    assert texts == ["half the speed: no compiler"]
    assert [str(one.message) for one in others] == ["another", "after"]


def test_it_is_printed_without_a_line_of_source():
    where = {"filename": "file.py", "lineno": 3}
    assert format_warning("half the speed", Slower, **where) == "half the speed\n"
    assert format_warning("another", UserWarning, **where).startswith("file.py:3: UserWarning: another\n")
