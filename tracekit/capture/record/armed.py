"""Which recording is armed on this machine: a file in ``/run`` that outlives a killed recorder.

The recorder holds a lock on it: whoever finds it unlocked knows that the recorder is gone, and
reads from it what to restore.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from dataclasses import asdict
from typing import Any

from tracekit.capture.record.instance import InstanceState
from tracekit.errors import SourceError
from tracekit.frozen import dataclass

__all__ = ["Armed", "ArmedFile", "ask_for_release", "recording"]

_DIRECTORIES = ("/run", "/dev/shm", "/tmp")  # the first that is writable; gone at the next boot
_NAME = "tracekit-armed"
_PATIENCE = 120.0  # seconds a recorder may take for its last snapshot


@dataclass(frozen=True, slots=True)
class Armed:
    """A recording: who records where, and how the instance was before.

    ``released`` says that the recorder has taken its last snapshot and let go of the session.
    """

    pid: int
    session: str
    instance: str
    boot_id: str
    before: InstanceState
    released: bool = False

    def encode(self) -> bytes:
        """The file's bytes."""
        return json.dumps(asdict(self)).encode()


def _decode(data: bytes) -> Armed | None:
    try:
        document: dict[str, Any] = json.loads(data)
        before = document.pop("before")
        size = str(before.get("saved_cmdlines_size", ""))  # an older tracekit did not raise it
        state = InstanceState(
            str(before["tracing_on"]), str(before["clock"]), tuple(map(str, before["events"])),
            size if size.isascii() and size.isdecimal() else "",
        )  # fmt: skip
        armed = Armed(**document, before=state)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    texts = (armed.session, armed.instance, armed.boot_id)
    sound = type(armed.pid) is int and armed.pid > 0 and all(isinstance(t, str) for t in texts)
    return armed if sound and "/" not in armed.instance else None


class ArmedFile:
    """The file, open and unlocked; a context manager."""

    def __init__(self, directory: str | None = None) -> None:
        where = directory or next(
            (d for d in _DIRECTORIES if os.access(d, os.W_OK)), _DIRECTORIES[-1]
        )
        self.path = f"{where}/{_NAME}-{os.geteuid()}.json"
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be opened: {error.strerror}") from error
        if os.fstat(self._fd).st_uid != os.geteuid():
            os.close(self._fd)
            raise SourceError(f"{self.path}: belongs to another user: remove it")

    def __enter__(self) -> ArmedFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def lock(self) -> bool:
        """Take the lock; False when a running recorder holds it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def read(self) -> Armed | None:
        """The recording that is or was armed, None when there is none."""
        return _decode(os.pread(self._fd, 1 << 20, 0))

    def write(self, armed: Armed) -> None:
        """Replace the content in one step; the caller holds the lock.

        Longer old content is overwritten with spaces: between a write and a truncation a reader or
        a kill could come in.
        """
        data = armed.encode().ljust(os.fstat(self._fd).st_size)
        os.pwrite(self._fd, data, 0)
        os.fsync(self._fd)

    def clear(self) -> None:
        """Note that nothing is armed any more."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)


def recording() -> Armed | None:
    """The recording of a running recorder, None when there is none.

    Waits for a recorder that is about to arm.
    """
    end = time.monotonic() + _PATIENCE
    with ArmedFile() as file:
        while not file.lock():
            armed = file.read()
            if armed is not None or time.monotonic() > end:
                return armed
            time.sleep(0.05)
    return None


def ask_for_release(pid: int) -> None:
    """Have the recorder take its last snapshot, and wait until it has let go of the session.

    Raises :class:`~tracekit.errors.SourceError` when it does not.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)
    end = time.monotonic() + _PATIENCE
    with ArmedFile() as file:
        while time.monotonic() < end:
            armed = file.read()
            if armed is not None and armed.released:
                return
            if armed is None or file.lock():
                raise SourceError(f"the recorder (pid {pid}) is gone: see what it said")
            time.sleep(0.05)
    raise SourceError(f"the recorder (pid {pid}) took no last snapshot in {_PATIENCE:.0f} s")
