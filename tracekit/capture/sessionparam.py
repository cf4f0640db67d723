"""``tracekit.session=DIR`` on the command line: the session that the old kernel recorded into."""

from __future__ import annotations

from tracekit.capture.cmdline import split_parameters
from tracekit.capture.nextboot import SESSION_PARAMETER
from tracekit.errors import UsageError
from tracekit.sysroot import Sysroot

__all__ = ["named_session", "session_from_cmdline"]

_CMDLINE = "proc/cmdline"


def named_session(cmdline: str) -> str | None:
    """The session a command line names; the last one counts, None without any."""
    named = [value for name, value in split_parameters(cmdline) if name == SESSION_PARAMETER]
    return named[-1] if named else None


def session_from_cmdline(root: Sysroot) -> str:
    """The session this boot's command line names: an absolute path.

    Raises :class:`~tracekit.errors.UsageError` where it names none, or no absolute path.
    """
    named = named_session(root.text(_CMDLINE))
    if named is None:
        raise UsageError(
            f"which session? {root.where(_CMDLINE)} has no {SESSION_PARAMETER}= "
            "('tracekit handover' puts it there), so name the session's directory"
        )
    if not named.startswith("/") or not named.isprintable():
        raise UsageError(
            f"{root.where(_CMDLINE)}: {SESSION_PARAMETER}={named!r} is no absolute path: "
            "name the session's directory"
        )
    return named
