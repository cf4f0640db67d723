"""The session of a boot: ``tracekit.session=DIR`` on its command line, or one of its own.

``luo:NAME`` instead of a directory: the session crosses in memory that LUO preserves. Before the
jump it is then a directory on a tmpfs, after it one that ``recover`` makes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from tracekit.capture.cmdline.compose import SESSION_PARAMETER
from tracekit.errors import UsageError
from tracekit.parameters import split_parameters
from tracekit.sysroot import Sysroot

__all__ = [
    "LUO",
    "SESSIONS",
    "default_session",
    "luo_directory",
    "luo_from_cmdline",
    "luo_name",
    "named_session",
    "session_from_cmdline",
]

SESSIONS = Path("/var/lib/tracekit")
LUO = "luo:"  #: what a session that crosses in memory is named with
_RUN = Path("/run/tracekit")
_CMDLINE = "proc/cmdline"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,47}")
_RESERVED = ("systemd", "tracekit-canary")  # sessions of LUO that are somebody's


def named_session(cmdline: str) -> str | None:
    """The session a command line names (the last one counts), or None."""
    named = [value for name, value in split_parameters(cmdline) if name == SESSION_PARAMETER]
    return named[-1] if named else None


def luo_name(session: str | None) -> str | None:
    """NAME of ``luo:NAME``, None for a directory.

    Raises :class:`~tracekit.errors.UsageError` for a name that LUO, a command line or a directory
    cannot have.
    """
    if session is None or not session.startswith(LUO):
        return None
    name = session.removeprefix(LUO)
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UsageError(
            f"{session[:80]!r}: a session is called luo:NAME, of up to 48 letters, digits and _.+- "
            f"(and not {' or '.join(_RESERVED)})"
        )
    return name


def luo_from_cmdline(root: Sysroot) -> str | None:
    """The name of the session that came in memory, by this boot's command line; None for none."""
    return luo_name(named_session(root.text(_CMDLINE)))


def luo_directory(root: Sysroot, name: str) -> Path:
    """Where session ``luo:NAME`` of this boot is: the same on every call.

    Below ``/var/lib/tracekit`` where the kernel before handed it on, else on the tmpfs ``/run``.
    """
    above = SESSIONS if luo_from_cmdline(root) == name else _RUN
    return above / f"{name}-{_mark(root)}"


def _mark(root: Sysroot) -> str:
    """The beginning of the boot's id."""
    boot_id = (root.get("proc/sys/kernel/random/boot_id") or b"unknown").decode("ascii", "replace")
    return "".join(c for c in boot_id if c.isalnum())[:8]  # a saved tree may say anything


def session_from_cmdline(root: Sysroot) -> str:
    """The session this boot's command line names: an absolute path.

    Raises :class:`~tracekit.errors.UsageError` where it names none, or no absolute path.
    """
    if (name := luo_from_cmdline(root)) is not None:
        return str(luo_directory(root, name))
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
    mark = _mark(root)
    existing = sorted(SESSIONS.glob(f"*-{mark}")) if SESSIONS.is_dir() else []
    today = datetime.now(UTC).strftime("%Y%m%d")
    return existing[0] if existing else SESSIONS / f"{today}-{mark}"
