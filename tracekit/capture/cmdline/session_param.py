"""The session of a boot: ``tracekit.session=DIR`` on its command line, or one of its own.

``luo:NAME`` instead of a directory: the session crosses in memory that LUO preserves. Before the
jump it is then a directory on a tmpfs, after it one that ``recover`` makes.
After a reboot or a panic no command line names it: then it is the newest one below
``/var/lib/tracekit`` whose last kernel recorded into memory that this one has been left.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from tracekit.capture.cmdline.compose import SESSION_PARAMETER, preserved_instance
from tracekit.carriers.machine import Machine
from tracekit.errors import SessionError, TracekitError, UsageError
from tracekit.parameters import TraceInstance, parse_cmdline, split_parameters
from tracekit.session import Session
from tracekit.sysroot import KHO_ROOTS, Sysroot

__all__ = [
    "LUO",
    "SESSIONS",
    "crash_session",
    "default_session",
    "find_session",
    "luo_directory",
    "luo_from_cmdline",
    "luo_name",
    "named_session",
    "recovered_session",
    "session_from_cmdline",
    "session_with",
    "waiting_session",
]

SESSIONS = Path("/var/lib/tracekit")
LUO = "luo:"  #: what a session that crosses in memory is named with
_RUN = Path("/run/tracekit")
_CMDLINE = "proc/cmdline"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,47}")
_RESERVED = ("systemd", "tracekit-canary")  # sessions of LUO that are somebody's
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_NEWEST = 20  # sessions that are looked into


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


def find_session(root: Sysroot, session: str | None = None) -> str:
    """The session to recover into: the one given, or named by the command line, or that waits.

    Raises :class:`~tracekit.errors.UsageError`, which says what was seen, where there is none.
    """
    if session is not None:
        return session
    if named_session(root.text(_CMDLINE)) is not None:
        return session_from_cmdline(root)
    waiting = waiting_session(root)
    if waiting is None:
        raise UsageError(
            f"which session? {root.where(_CMDLINE)} has no {SESSION_PARAMETER}= ('tracekit "
            f"handover' puts it there), and no session below {SESSIONS} waits for what this kernel "
            f"has been left{_others(root)}: name the session's directory"
        )
    return str(waiting)


def waiting_session(root: Sysroot, named: str | None = None) -> Path | None:
    """The newest session, or the ``named`` one, that a kernel may have left its record for.

    None where there is none. It has not been recovered yet, was another boot's, and recorded into a
    carve-out that this kernel's command line names too; under a crash kernel, or where KHO has
    brought something, into any preserved memory.
    """
    machine = Machine(root)
    own = _boot_id(root)
    for session in _sessions() if named is None else _opened(Path(named)):
        last = _unrecovered(session, own)
        if last is not None and _left_here(machine, last):
            return session.path
    return None


def recovered_session(root: Sysroot) -> Path:
    """The session that the running kernel was recovered into: it holds this boot and others.

    Raises :class:`~tracekit.errors.SessionError` where there is none.
    """
    own = _boot_id(root)
    named = named_session(root.text(_CMDLINE))
    first = _opened(Path(session_from_cmdline(root))) if named is not None else iter(())
    for session in chain(first, _sessions()):
        with contextlib.suppress(SessionError):
            boots = session.manifest.boots
            if len(boots) > 1 and any(session.kernel(i).get("boot_id") == own for i in boots):
                return session.path
    raise SessionError(
        f"no session below {SESSIONS} has what came before this boot: 'tracekit recover' makes one "
        "after a kexec, a reboot or a panic that was recorded"
    )


def crash_session(root: Sysroot, dead: str | None, session: str | None = None) -> str:
    """Where a crash kernel saves the kernel whose boot id is ``dead`` (None: it has none).

    The one given; else that which has this boot; else the one that the command line names; where
    the boot has no id, the one that waits; else one of its own, the same on every call.
    """
    if session is not None:
        return session
    if dead is not None and (known := _with_boot(dead)) is not None:
        return str(known)
    named = named_session(root.text(_CMDLINE))
    if named is not None and not named.startswith(LUO):
        return session_from_cmdline(root)
    if dead is None and (waiting := waiting_session(root)) is not None:
        return str(waiting)
    mark = _mark(root)
    existing = sorted(SESSIONS.glob(f"crash-*-{mark}")) if SESSIONS.is_dir() else []
    today = datetime.now(UTC).strftime("%Y%m%d")
    return str(existing[0] if existing else SESSIONS / f"crash-{today}-{mark}")


def session_with(root: Sysroot, path: str) -> bool:
    """Whether the session at ``path`` has this very boot."""
    own = _boot_id(root)
    return any(_has(session, own) for session in _opened(Path(path)))


def _with_boot(boot_id: str) -> Path | None:
    """The newest session that has a boot."""
    return next((s.path for s in _sessions() if _has(s, boot_id)), None)


def _has(session: Session, boot_id: str) -> bool:
    with contextlib.suppress(SessionError):
        return any(session.kernel(i).get("boot_id") == boot_id for i in session.manifest.boots)
    return False


def _boot_id(root: Sysroot) -> str:
    return (root.get(_BOOT_ID) or b"unknown").decode("ascii", "replace").strip()


def _sessions() -> Iterator[Session]:
    """The sessions below :data:`SESSIONS`, those that were written to last first."""
    manifests: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for path in SESSIONS.iterdir():
            with contextlib.suppress(OSError):
                manifests.append(((path / "manifest.json").stat().st_mtime, path))
    for _, path in sorted(manifests, reverse=True)[:_NEWEST]:
        yield from _opened(path)


def _opened(path: Path) -> Iterator[Session]:
    """The session at ``path``, none where it cannot be read."""
    with contextlib.suppress(TracekitError, OSError):
        yield Session.open(path)


def _unrecovered(session: Session, own: str) -> TraceInstance | None:
    """The instance that the session's last boot recorded in, None where that is recovered."""
    boots = session.manifest.boots
    if session.manifest.state == "recovered" or not boots:
        return None
    try:
        kernel = session.kernel(max(boots))
    except SessionError:
        return None
    if not kernel.get("known") or kernel.get("boot_id") == own:
        return None
    return preserved_instance(parse_cmdline(str(kernel.get("cmdline") or "")))


def _left_here(machine: Machine, instance: TraceInstance) -> bool:
    """Whether the memory of another kernel's instance may have come to this one."""
    if machine.crash_kernel:
        return True
    if instance.address is None:
        return any(machine.root.exists(f"{place}/in/fdt") for place in KHO_ROOTS)
    command = machine.command
    kept = [*command.carved, *((i.address, i.size) for i in command.instances if i.address)]
    return any(start <= instance.address < start + (size or 1) for start, size in kept)


def _others(root: Sysroot) -> str:
    """What sessions wait for memory that this kernel does not keep, in words."""
    own = _boot_id(root)
    for session in _sessions():
        last = _unrecovered(session, own)
        if last is not None and last.address is not None:
            return (
                f" ({session.path} was recorded at {last.address:#x}, which no memmap= of this "
                "kernel keeps: give every kernel the same)"
            )
    return ""


def default_session(root: Sysroot) -> Path:
    """The session this boot records into when none is named.

    The one that the previous kernel passed on in ``tracekit.session=``; else the one that holds
    this boot already, for it was recovered into; else this boot's own below ``/var/lib/tracekit``,
    which is the same on every call.
    """
    if named_session(root.text(_CMDLINE)) is not None:
        return Path(session_from_cmdline(root))
    if (known := _with_boot(_boot_id(root))) is not None:
        return known
    mark = _mark(root)
    existing = sorted(SESSIONS.glob(f"*-{mark}")) if SESSIONS.is_dir() else []
    today = datetime.now(UTC).strftime("%Y%m%d")
    return existing[0] if existing else SESSIONS / f"{today}-{mark}"
