"""tracekit: a flight recorder for kexec.

>>> import tracekit
>>> session = tracekit.open("SESSION")            # doctest: +SKIP
>>> session.timeline.to_pandas()                  # every event, sorted by ts_ns    # doctest: +SKIP
>>> session.event("sched:sched_switch")           # typed arguments                 # doctest: +SKIP
>>> session.report().handovers[-1].blackout_ns    # doctest: +SKIP

See ``docs/python.md``.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit.recording import Recording
    from tracekit.session import Session

__all__ = ["open"]


def open(path: str | PathLike[str] | Session, instance: str | None = None) -> Recording:
    """Open a session directory, or an archive of one, for reading.

    ``instance``: only the buffer of this trace instance (``global``: the global one).
    Nothing is decoded before it is asked for. Raises :class:`tracekit.errors.SessionError` where
    there is no usable session.
    """
    from tracekit.session import Session

    session = path if isinstance(path, Session) else Session.open(path)
    session.read_ahead(name for name in session.recorded if name.endswith(".raw"))
    # what follows takes as long to import as a region takes to decompress
    from tracekit.recording import Recording

    return Recording(session, instance=instance)
