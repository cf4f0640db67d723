"""Jobs: work in threads that yields to the user; between steps it waits while keys are handled."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from textual.worker import Worker, get_current_worker

from tracekit.errors import TracekitError, explained
from tui.host import Host

__all__ = ["Cancelled", "Job", "start"]

_T = TypeVar("_T")
_LONGEST = 0.3  # seconds that a step waits at most, however many keys come
_NAP = 0.002
_SHOWN = 0.1  # seconds between two pictures of the progress


class Cancelled(Exception):
    """The job's result is not wanted any more."""


class Job:
    """Passed to a job's function, which calls :meth:`step` every few milliseconds of work."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._worker: Worker[Any] = get_current_worker()
        self._last_shown = time.monotonic()
        self.name = name

    def step(self, done: int = 0, total: int | None = None) -> None:
        """Let the interface go first; raises :class:`Cancelled` when the result is not wanted.

        ``done`` of ``total`` is shown as progress, a few times a second.
        """
        begun = now = time.monotonic()
        while True:
            if self._worker.is_cancelled or not self._host.is_running:
                raise Cancelled
            if now >= self._host.busy_until or now - begun >= _LONGEST:
                break
            time.sleep(_NAP)
            now = time.monotonic()
        if now - self._last_shown > _SHOWN:
            self._last_shown = now
            self._host.call_from_thread(self._host.show_progress, self.name, done, total)


def start(
    host: Host,
    name: str,
    work: Callable[[Job], _T],
    then: Callable[[_T], Awaitable[None] | None],
) -> None:
    """Run ``work`` in a thread, then ``then`` with its result in the interface.

    A job of the same name that still runs is cancelled. A :class:`TracekitError` is shown as a
    message, and so is that memory or a package is missing; any other exception is a bug and ends
    the application with its traceback.
    """

    def run() -> None:
        job = Job(host, name)
        try:
            result = work(job)
            job.step()
            host.call_from_thread(host.show_progress, name, 1, 1)  # what is shown is all there is
            host.call_from_thread(then, result)
        except Cancelled:
            return
        except (TracekitError, MemoryError, RuntimeError, ImportError) as error:
            known = error if isinstance(error, TracekitError) else explained(error)
            if known is None:
                raise
            host.call_from_thread(host.notify, str(known), severity="error", markup=False)
            host.call_from_thread(host.show_progress, name, 1, 1)
        finally:
            if host.model is not None:
                host.model.release()  # pages of a mapped session that only the job used

    host.run_worker(run, name=name, group=name, exclusive=True, thread=True)
