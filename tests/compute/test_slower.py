"""What falls back to something slower: one line for a person, apart from all other warnings."""

import threading
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


def test_each_thread_hears_its_own_whichever_ends_first():
    """Two listen at once; the first to begin ends first. A third, which does not listen, is heard by the last."""
    both, first_left = threading.Barrier(2), threading.Event()
    found = {}

    def work(name):
        with heard() as texts:
            both.wait()
            warn_slower(f"of {name}")
            if name == "second":
                first_left.wait()
                silent = threading.Thread(target=warn_slower, args=("of nobody",))
                silent.start()
                silent.join()
        found[name] = texts
        first_left.set()

    before = warnings.showwarning
    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"first": ["of first"], "second": ["of second", "of nobody"]}
    assert warnings.showwarning is before


def test_another_threads_catch_warnings_may_span_the_end_of_listening(monkeypatch):
    """It brings back what was there as it began: our function, when nobody listens. Warnings are still printed."""
    inside, over = threading.Event(), threading.Event()

    def work():
        with warnings.catch_warnings():
            inside.set()
            over.wait()

    printed = []
    thread = threading.Thread(target=work)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: printed.append(str(message)))
        with heard():
            thread.start()
            inside.wait()
        over.set()
        thread.join()
        warnings.warn("outside", UserWarning, stacklevel=1)
        with heard() as texts:
            warn_slower("heard")
            warnings.warn("within", UserWarning, stacklevel=1)
    assert texts == ["heard"]
    assert printed == ["outside", "within"]


def test_it_is_printed_without_a_line_of_source():
    where = {"filename": "file.py", "lineno": 3}
    assert format_warning("half the speed", Slower, **where) == "half the speed\n"
    assert format_warning("another", UserWarning, **where).startswith("file.py:3: UserWarning: another\n")
