"""The session of a boot: ``tracekit.session=DIR`` on its command line, or one of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tracekit.capture.cmdline.compose import SESSION_PARAMETER
from tracekit.errors import UsageError
from tracekit.parameters import split_parameters
from tracekit.sysroot import Sysroot

__all__ = ["SESSIONS", "default_session", "named_session", "session_from_cmdline"]

SESSIONS = Path("/var/lib/tracekit")
_CMDLINE = "proc/cmdline"


def named_session(cmdline: str) -> str | None:
    """The session a command line names (the last one counts), or None."""
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


def default_session(root: Sysroot) -> Path:
    """The session this boot records into when none is named.

    The one that the previous kernel passed on in ``tracekit.session=``; else this boot's own below
    ``/var/lib/tracekit``, which is the same on every call.
    """
    if named_session(root.text("proc/cmdline")) is not None:
        return Path(session_from_cmdline(root))
    boot_id = (root.get("proc/sys/kernel/random/boot_id") or b"unknown").decode("ascii", "replace")
    mark = boot_id.strip()[:8]
    existing = sorted(SESSIONS.glob(f"*-{mark}")) if SESSIONS.is_dir() else []
    today = datetime.now(UTC).strftime("%Y%m%d")
    return existing[0] if existing else SESSIONS / f"{today}-{mark}"
