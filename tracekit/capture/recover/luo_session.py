"""Fetches the session that the old kernel handed on in memory, before regions are looked for.

A session of LUO can be retrieved only once in a boot, and is gone when its holder ends. So what
came is first written beside the directory it is for, as it came; a run that is killed after that
is completed by the next one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from tracekit.carriers.luo.memfd import LiveUpdate
from tracekit.carriers.luo.systemd_store import MAPPING, SESSION, listed, passed_fds, stored
from tracekit.errors import NothingToRecover, SessionError, SourceError, UsageError
from tracekit.frozen import dataclass
from tracekit.remarks import Remarks
from tracekit.session.files import dump_json, write_all
from tracekit.session.owned import open_plain
from tracekit.session.packed import unframe, unpack
from tracekit.session.parts import replacing
from tracekit.sysroot import Sysroot

__all__ = ["TOKEN", "receive", "received"]

TOKEN = 1  #: the session's memfd among the files of its LUO session
_MARK = "luo"  # luo.json: in which boot the directory was made
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_MAX_JSON = 1 << 20


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A session in memory: ``fd`` of the memfd, and where it came from."""

    fd: int
    source: str


def received(target: Path, boot_id: str) -> bool:
    """Whether the session at ``target`` was made of what came in memory into this boot."""
    try:
        with os.fdopen(open_plain(target / f"{_MARK}.json", os.O_RDONLY), "rb") as file:
            document = json.loads(file.read(_MAX_JSON))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("received_in") == boot_id


def receive(root: Sysroot, name: str, target: Path, remarks: Remarks) -> bool:
    """Make session ``target`` of the one that came as ``luo:NAME``; False where that was done.

    Raises :class:`~tracekit.errors.NothingToRecover` where none came, and
    :class:`~tracekit.errors.SessionError` for one that is damaged.
    """
    boot_id = root.text(_BOOT_ID).strip()
    if received(target, boot_id):
        return False
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UsageError(
            f"{target} is there already: name a directory that is not, for the session luo:{name}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(target.parent, os.W_OK):
        raise SessionError(
            f"{target.parent}: cannot be written to: name a directory on a tmpfs: 'tracekit "
            f"recover /run/{name}'"
        )
    kept = [path for path in _archives(target, boot_id, (".zst", ".gz")) if path.exists()]
    archive = kept[0] if kept else _fetch(name, target, boot_id, remarks)
    with suppress(OSError):
        target.rmdir()  # an empty directory that the user has made
    unpack(archive, target, **{_MARK: dump_json({"session": name, "received_in": boot_id})})
    archive.unlink(missing_ok=True)
    return True


def _archives(target: Path, boot_id: str, suffixes: Sequence[str]) -> list[Path]:
    """Where what came is kept until it is unpacked: beside the target, else where there is room."""
    name = f".{target.name}-{boot_id[:8]}.tar"
    return [place / f"{name}{end}" for place in (target.parent, Path("/run")) for end in suffixes]


def _fetch(name: str, target: Path, boot_id: str, remarks: Remarks) -> Path:
    """Write the archive that came to a file before the kernel may forget it; returns that."""
    with ExitStack() as stack:
        arrived = _find(name, stack, remarks)
        size = os.fstat(arrived.fd).st_size
        archive, suffix = unframe(
            lambda offset, length: os.pread(arrived.fd, length, offset), size, arrived.source
        )
        problems = []
        for path in _archives(target, boot_id, [suffix]):
            try:
                with replacing(path, 0o600) as file:
                    write_all(file.fileno(), archive)
            except OSError as error:
                problems.append(f"{path.parent}: {error.strerror}")
            else:
                return path
    raise SessionError(
        f"the session luo:{name} came, {len(archive):,} bytes, and cannot be written anywhere "
        f"({'; '.join(problems)}); the kernel gives it only once: make room and hand over again"
    )


def _find(name: str, stack: ExitStack, remarks: Remarks) -> _Arrived:
    """The session's memory: given by systemd, of its own LUO session, or of systemd's."""
    given = passed_fds(os.environ, os.getpid())
    if name in given:
        return _Arrived(given[name], f"descriptor {name!r} that systemd has kept")
    try:
        device = stack.enter_context(LiveUpdate())
    except SourceError as error:
        raise NothingToRecover(
            f"the session luo:{name}, which the command line names, cannot be fetched: {error}"
        ) from error
    return _own(device, name, stack, remarks) or _of_systemd(device, name, stack, remarks)


def _own(device: LiveUpdate, name: str, stack: ExitStack, remarks: Remarks) -> _Arrived | None:
    """From the LUO session of that name, which is finished when the stack is closed."""
    session = device.retrieve(name)
    if session is None:
        return None
    stack.enter_context(session)
    fd = session.retrieve(TOKEN)
    stack.callback(os.close, fd)
    try:
        session.finish()
    except SourceError as error:
        remarks.add("luo-not-finished", "warning", f"luo:{name}", str(error))
    return _Arrived(fd, f"LUO session {name!r}")


def _of_systemd(device: LiveUpdate, name: str, stack: ExitStack, remarks: Remarks) -> _Arrived:
    """From systemd's session, where systemd does not run: it is lost to others' services then."""
    nothing = NothingToRecover(
        f"no session luo:{name} came with this boot, though its command line names it: the old "
        "kernel's 'tracekit handover' ended before the jump, or this kernel refused LUO's data: "
        "look for 'luo' and 'KHO' in its log"
    )
    if Path("/run/systemd/system").is_dir():
        raise nothing  # what systemd retrieved it has given to the unit, or has still
    session = device.retrieve(SESSION)
    if session is None:
        raise nothing
    stack.enter_context(session)
    mapping = session.retrieve(MAPPING)
    stack.callback(os.close, mapping)
    entries = stored(os.pread(mapping, _MAX_JSON, 0))
    ours = listed(entries, name)
    if ours is None:
        raise nothing
    others = sorted({entry.unit for entry in entries if entry != ours})
    if others:
        remarks.add(
            "luo-others-lost", "warning", f"LUO session {SESSION!r}",
            f"it also held descriptors of {', '.join(others[:4])}, and systemd is not here to "
            "take them: they are freed",
        )  # fmt: skip
    if ours.token is None:
        own = _own(device, ours.session, stack, remarks)
        if own is None:
            raise nothing
        return own
    fd = session.retrieve(ours.token)
    stack.callback(os.close, fd)
    return _Arrived(fd, f"systemd's store of {ours.unit}")
