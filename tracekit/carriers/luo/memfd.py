"""A memfd that the Live Update Orchestrator (LUO) preserves: it carries bytes, no trace buffer.

``/dev/liveupdate`` makes named sessions, in which file descriptors are preserved under tokens; the
next kernel retrieves a session by its name and a file by its token. The numbers are those of
``include/uapi/linux/liveupdate.h``; which files can be preserved: ``mm/memfd_luo.c``. A session
lives as long as somebody holds it, until the jump.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence

from tracekit.carriers.carrier import Arrival, Found, Promise, Source, State, Verdict
from tracekit.carriers.machine import Machine
from tracekit.errors import NothingToRecover, SourceError
from tracekit.parameters import RegionSpec, split_parameters

__all__ = ["DEVICE", "LiveUpdate", "LuoMemfd", "LuoSession", "session_name_fits"]

DEVICE = "/dev/liveupdate"
_TYPE = 0xBA << 8  # _IO(0xBA, number)
_CREATE, _RETRIEVE = _TYPE | 0x00, _TYPE | 0x01  # on the device
_PRESERVE_FD, _RETRIEVE_FD, _FINISH = _TYPE | 0x40, _TYPE | 0x41, _TYPE | 0x42  # on a session
_NAMED = struct.Struct("=Ii64s")  # size of this, fd, name
_FILE = struct.Struct("=IiQ")  # size of this, fd, token
_PLAIN = struct.Struct("=II")  # size of this, reserved
_LONGEST = _NAMED.size - 8 - 1  # bytes of a session's name
_BOOT = "boot with kho=on liveupdate=on a kernel of 6.19 or later that has CONFIG_LIVEUPDATE"
_OPEN = {
    errno.ENOENT: f"there is none: {_BOOT}",
    errno.ENODEV: f"there is none: {_BOOT}",
    errno.ENXIO: f"there is none: {_BOOT}",
    errno.EBUSY: "another process has it, and only one may: 'fuser /dev/liveupdate' names it",
    errno.EACCES: "only root may open it: run with sudo",
    errno.EPERM: "only root may open it: run with sudo",
}
_WHY = {
    (_CREATE, errno.EEXIST): "there is one of that name, held by a process that still runs: end "
    "it, or take another name",
    (_CREATE, errno.ENOMEM): "no more sessions fit: end others that preserve files",
    (_RETRIEVE, errno.EINVAL): "it was retrieved before in this boot, and can be only "
    "once: 'tracekit recover DIR' saves the record without it",
    (_PRESERVE_FD, errno.ENOENT): "this kernel preserves no memfds: it needs CONFIG_LIVEUPDATE and "
    "CONFIG_MEMFD_CREATE (CONFIG_LIVEUPDATE_MEMFD where there is one)",
    (_PRESERVE_FD, errno.EOPNOTSUPP): "this kernel preserves no such memfd",
    (_PRESERVE_FD, errno.EEXIST): "the token is taken",
    (_PRESERVE_FD, errno.EBUSY): "it is preserved already",
    (_PRESERVE_FD, errno.ENOMEM): "not enough memory outside of KHO's scratch area: make it "
    "smaller, or free memory",
    (_RETRIEVE_FD, errno.ENOENT): "no file of that token came along",
    (_FINISH, errno.EBUSY): "something in it is not retrieved yet, and cannot be let go",
}
_COMMON = {
    errno.ENOTTY: "this kernel's LUO does not know the call: it is older or newer than 6.19 to 7.3",
    errno.E2BIG: "this kernel's LUO expects another structure: it is older than 6.19's",
    errno.ENOMEM: "not enough memory",
    errno.EBADF: "the live update has begun, or the session has ended",
}


def session_name_fits(name: str) -> bool:
    """Whether a session can be called so: one to 63 bytes, no NUL."""
    return 0 < len(name.encode("utf-8", "surrogatepass")) <= _LONGEST and "\0" not in name


def _call(fd: int, request: int, layout: struct.Struct, *values: int | bytes) -> tuple[int, ...]:
    """The structure's fields after the call. Raises OSError."""
    argument = bytearray(layout.pack(layout.size, *values))
    fcntl.ioctl(fd, request, argument, True)
    return layout.unpack(argument)


def _failed(what: str, request: int, error: OSError) -> SourceError:
    number = error.errno or 0
    why = _WHY.get((request, number)) or _COMMON.get(number) or "'dmesg | tail' may say more"
    return SourceError(f"LUO: {what}: {os.strerror(number)}: {why}")


class LuoSession:
    """A session, open; a context manager.

    Before the jump closing it undoes what it preserves; after it, it lets go of what was not
    retrieved.
    """

    def __init__(self, fd: int, name: str) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd
        self.name = name

    def __enter__(self) -> LuoSession:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def preserve(self, fd: int, token: int) -> None:
        """Have the next kernel find ``fd`` under ``token``."""
        try:
            _call(self._fd, _PRESERVE_FD, _FILE, fd, token)
        except OSError as error:
            what = f"a memfd cannot be preserved in the session {self.name!r}"
            raise _failed(what, _PRESERVE_FD, error) from error

    def retrieve(self, token: int) -> int:
        """The file that the old kernel preserved under ``token``; the caller closes it."""
        try:
            fd = _call(self._fd, _RETRIEVE_FD, _FILE, -1, token)[1]
        except OSError as error:
            what = f"file {token} of the session {self.name!r} cannot be retrieved"
            raise _failed(what, _RETRIEVE_FD, error) from error
        os.set_inheritable(fd, False)
        return fd

    def finish(self) -> None:
        """Tell the kernel that all is retrieved; what was not is freed."""
        try:
            _call(self._fd, _FINISH, _PLAIN, 0)
        except OSError as error:
            what = f"the session {self.name!r} cannot be finished"
            raise _failed(what, _FINISH, error) from error


class LiveUpdate:
    """``/dev/liveupdate``, open; a context manager. Only one process may have it at a time."""

    def __init__(self, path: str = DEVICE) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            why = _OPEN.get(error.errno or 0, error.strerror)
            raise SourceError(f"{path}: {why}") from error

    def __enter__(self) -> LiveUpdate:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def create(self, name: str) -> LuoSession:
        """A new session for the next kernel."""
        try:
            fd = _call(self._fd, _CREATE, _NAMED, -1, name.encode())[1]
        except OSError as error:
            raise _failed(f"no session {name!r} can be made", _CREATE, error) from error
        return LuoSession(fd, name)

    def retrieve(self, name: str) -> LuoSession | None:
        """The session of the old kernel, None where none of that name came."""
        try:
            fd = _call(self._fd, _RETRIEVE, _NAMED, -1, name.encode())[1]
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise _failed(f"the session {name!r} cannot be retrieved", _RETRIEVE, error) from error
        return LuoSession(fd, name)


class LuoMemfd:
    """The carrier: of sessions (``handover -o luo:NAME``) and canaries, not of trace buffers."""

    name = "luo"
    promise = Promise(
        ("kexec",),
        "not its subject: it carries the session, so that no disk is needed",
        "a kernel of 6.19 or later with CONFIG_LIVEUPDATE, kho=on liveupdate=on on both kernels' "
        "command lines, and 'tracekit handover -o luo:NAME'",
    )

    def describe(self, machine: Machine) -> Verdict:
        """By the device, the command line and the configuration."""
        given = dict(split_parameters(machine.command.text)).get("liveupdate")
        on = given is not None and given.lower() in ("1", "y", "t", "on", "yes", "true")

        def verdict(state: State, why: str, remedy: str = "") -> Verdict:
            return Verdict(self.name, state, why, self.promise, remedy)

        if machine.root.exists(DEVICE.lstrip("/")):
            return verdict("ready", f"{machine.root.where(DEVICE.lstrip('/'))} is there")
        option = machine.option("LIVEUPDATE")
        lacks = "n" in (option, machine.option("KEXEC_HANDOVER"))
        if lacks or machine.ignores("liveupdate"):
            return verdict("no", f"this kernel ({machine.release}) has no live update")
        if not on:
            remedy = "boot with kho=on liveupdate=on" + ("" if option == "y" else " to find out")
            switch = "no liveupdate=" if given is None else f"liveupdate={given}"
            return verdict("possible" if option == "y" else "unknown",
                           f"{switch} on the command line", remedy)  # fmt: skip
        if machine.kho_enabled is not True or machine.gave_up_kho:
            why = "liveupdate=on, but KHO is off, without which it is switched off"
            return verdict("possible", why, "boot with kho=on, too")
        why = f"liveupdate=on, but there is no {DEVICE}"
        return verdict("unknown", why, "look for 'luo' in the kernel's log")

    def find(self, arrival: Arrival) -> list[Found]:
        """None: what it brings is a session, which is fetched before regions are looked for."""
        raise NothingToRecover("")

    def read(self, arrival: Arrival, regions: Sequence[RegionSpec]) -> Sequence[Source]:
        """Nothing: its memory has no address of its own."""
        return ()
