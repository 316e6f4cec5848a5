"""A Ray as an engine starts or joins it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmd_tune.search.execution.ray_session import await_process, leave_ray, ray_session, start_or_join


@contextmanager
def started_ray(address: str | None, log: Path) -> Iterator[None]:
    with ray_session(address, log) as joined:
        try:
            start_or_join(joined, log)
            await_process(joined)
            yield
        finally:
            leave_ray()
