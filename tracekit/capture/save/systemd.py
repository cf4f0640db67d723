"""Systemd's milestones of a boot or a shutdown, and waiting until a boot has finished.

Stamps are microseconds of CLOCK_MONOTONIC (``systemd.directives``, ``org.freedesktop.systemd1``);
0 means that it has not happened, and is left out.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tracekit.errors import SourceError
from tracekit.session import SessionWriter
from tracekit.session.files import Directory, dump_json, write_all
from tracekit.session.limits import MAX_JSON
from tracekit.session.names import LEFTOVER

__all__ = [
    "milestones",
    "notify_ready",
    "read_manager",
    "read_units",
    "renewed",
    "running",
    "save_userspace",
]

_RUNNING = Path("/run/systemd/system")  # sd_booted(3)
_STAMP = re.compile(r"^(\w+TimestampMonotonic)=(\d{1,19})$", re.M)
_FINISHED = "FinishTimestampMonotonic"
_UNIT_STAMPS = {
    "inactive_exit": "InactiveExitTimestampMonotonic",
    "active_enter": "ActiveEnterTimestampMonotonic",
}
_PATIENCE = 60  # seconds allowed for one answer of systemctl
_PAUSE = 0.5  # seconds between two checks whether the boot has finished

Ask = Callable[[Sequence[str]], str]
"""Answers ``systemctl show ARGUMENTS`` with its output."""


def running() -> bool:
    """Whether systemd is this machine's service manager."""
    return _RUNNING.is_dir()


def _systemctl(arguments: Sequence[str]) -> str:
    program = shutil.which("systemctl")
    if program is None:
        raise SourceError("systemctl: not found, so systemd cannot be asked for its milestones")
    command = [program, "--no-pager", "show", *arguments]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"systemctl show: {error}") from error
    if done.returncode != 0:
        message = done.stderr.decode("utf-8", "backslashreplace").strip()
        raise SourceError(f"systemctl show: exit code {done.returncode}: {message[:200]}")
    return done.stdout.decode("utf-8", "backslashreplace")


def read_manager(ask: Ask = _systemctl) -> dict[str, int]:
    """The manager's own stamps: property (``UserspaceTimestampMonotonic``, ...) -> microseconds.

    Raises :class:`~tracekit.errors.SourceError` where systemd does not answer.
    """
    return {name: int(us) for name, us in _STAMP.findall(ask([])) if int(us)}


def read_units(ask: Ask = _systemctl) -> list[dict[str, Any]]:
    """``{"id", "inactive_exit", "active_enter"}`` of every unit that has been started.

    Raises :class:`~tracekit.errors.SourceError` where systemd does not answer.
    """
    wanted = ",".join(("Id", *_UNIT_STAMPS.values()))
    units: list[dict[str, Any]] = []
    for block in ask(["*", f"--property={wanted}"]).split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        stamps = {
            key: int(text)
            for key, name in _UNIT_STAMPS.items()
            if (text := properties.get(name, "")).isdecimal() and int(text)
        }
        if properties.get("Id") and stamps:
            units.append({"id": properties["Id"], **stamps})
    return sorted(units, key=lambda u: (u.get("inactive_exit", 0), u["id"]))


def notify_ready(status: str) -> None:
    """Tell the service manager that started us that all is saved, as ``sd_notify(3)`` does."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to_manager:
        try:
            to_manager.sendto(f"READY=1\nSTATUS={status}".encode(), target)
        except OSError as error:
            raise SourceError(f"NOTIFY_SOCKET={address}: {error.strerror}") from error


def milestones(boot: int) -> str:
    """The name in the session of a boot's milestones."""
    return f"boots/{boot}/systemd.json"


def renewed(session: Path, boot: int, ask: Ask = _systemctl) -> bytes:
    """A boot's milestones with the manager's stamps as they are now, and the units as saved.

    Raises :class:`~tracekit.errors.SourceError` where systemd does not answer.
    """
    directory = Directory(session)
    try:  # by name: a file saved beside a recorder is not in the manifest
        saved = json.loads(directory.read(milestones(boot), MAX_JSON))
    except (OSError, ValueError, RecursionError):
        saved = None
    finally:
        directory.close()
    units = saved.get("units") if isinstance(saved, dict) else None
    return dump_json({"manager": read_manager(ask), "units": units or []})


def _save(session: Path, rel: str, document: dict[str, Any]) -> None:
    """Put the file into the session, even while a recorder has it open for writing.

    Then it is not in the manifest, which is the recorder's; a reader finds it all the same.
    """
    data = dump_json(document)
    directory = Directory(session)
    try:
        if not _recorded_into(directory):
            with SessionWriter.open(session) as writer:
                writer.write(rel, data)
                writer.finish(writer.earlier_state)
            return
        above, _, name = rel.rpartition("/")
        part = f"{above}/{LEFTOVER}{name}"
        with directory.guard(rel):
            fd = directory.create(part)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            directory.replace(part, rel)
    finally:
        directory.close()


def _recorded_into(directory: Directory) -> bool:
    """Whether another tracekit has the session open for writing."""
    try:
        fcntl.flock(directory.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    fcntl.flock(directory.fd, fcntl.LOCK_UN)
    return False


def save_userspace(
    session: str | os.PathLike[str],
    boot: int,
    timeout_s: float,
    *,
    ask: Ask = _systemctl,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Wait until systemd has finished booting, then save ``boots/BOOT/systemd.json``.

    Returns False when it had not finished after ``timeout_s`` seconds; the stamps up to then are
    saved. Raises :class:`~tracekit.errors.SourceError` where systemd does not answer, and
    :class:`~tracekit.errors.SessionError` when the session cannot be written.
    """
    manager = read_manager(ask)
    waited = 0.0
    while _FINISHED not in manager and waited < timeout_s:
        sleep(_PAUSE)
        waited += _PAUSE
        manager = read_manager(ask)
    _save(Path(session), milestones(boot), {"manager": manager, "units": read_units(ask)})
    return _FINISHED in manager
