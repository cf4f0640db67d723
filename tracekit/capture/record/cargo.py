"""What crosses a kexec besides the record: the session in memory, and a canary.

Both are put in place as late as can be: the session after its last snapshot, then the canary, as
the last thing before the jump.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from tracekit.capture.recover.canary import FILE
from tracekit.capture.recover.luo_session import TOKEN
from tracekit.capture.save.boots import known_boots
from tracekit.carriers.carve_out import DEVICE, covering
from tracekit.carriers.luo.memfd import LiveUpdate, LuoMemfd, LuoSession
from tracekit.carriers.machine import Machine
from tracekit.errors import SourceError, UsageError
from tracekit.frozen import dataclass
from tracekit.parameters import CommandLine, memparse
from tracekit.session import SessionWriter
from tracekit.session.canary import (
    LUO_SESSION,
    LUO_TOKEN,
    MOST_BYTES,
    PAGE,
    Canary,
    Physical,
    chunks,
)
from tracekit.session.identity import identity
from tracekit.session.packed import HEADER_SIZE, frame, pack
from tracekit.sysroot import Sysroot

__all__ = ["NOTHING", "Cargo", "Loaded", "Wanted", "check_cargo", "parse_wanted", "spans"]

_PAGEMAP = Path("/proc/self/pagemap")
_PRESENT, _PFN = 1 << 63, (1 << 55) - 1  # Documentation/admin-guide/mm/pagemap.rst
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_MOST_SPANS = 1 << 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """``--canary SIZE[@ADDRESS]``, in bytes; without an address: wherever there is room."""

    size: int
    address: int | None = None


@dataclass(frozen=True, slots=True)
class Cargo:
    """What is to cross: the session as ``luo:SESSION``, a canary; None: not."""

    session: str | None = None
    canary: Wanted | None = None


def parse_wanted(text: str) -> Wanted:
    """``64M``, ``64M@0x60000000``. Raises :class:`~tracekit.errors.UsageError`."""
    size_text, at, address_text = text.partition("@")
    size, address = memparse(size_text), memparse(address_text)
    placed = not at or (address is not None and not address[1])
    if size is None or size[1] or not placed:
        raise UsageError(f"--canary {text[:40]!r}: give SIZE or SIZE@ADDRESS (64M, 64M@0x60000000)")
    if size[0] == 0 or size[0] % PAGE or size[0] > MOST_BYTES or (address or (0,))[0] % PAGE:
        raise UsageError(f"--canary {text[:40]}: whole pages of {PAGE} bytes, at most 1T")
    return Wanted(size[0], address[0] if address is not None and at else None)


def check_cargo(root: Sysroot, cargo: Cargo) -> Cargo:
    """The cargo with the canary's address chosen, where it is not to be a memfd.

    Raises :class:`~tracekit.errors.UsageError` for what this machine cannot carry.
    """
    machine = Machine(root)
    luo = LuoMemfd().describe(machine)
    if cargo.session is not None and luo.state != "ready":
        raise UsageError(f"-o luo:{cargo.session}: {luo.why}: {luo.remedy or 'use -o DIR'}")
    wanted = cargo.canary
    if wanted is None or (wanted.address is None and luo.state == "ready"):
        return cargo
    free = _free(machine.command)
    if wanted.address is None:
        address = next((start for start, size in free if size >= wanted.size), None)
        if address is None:
            raise UsageError(
                f"--canary: no memory that survives and is free has {wanted.size >> 10} KiB: "
                f"{luo.why}; boot with kho=on liveupdate=on (6.19 and later), or with one more "
                "memmap=SIZE$ADDRESS on which no trace instance is"
            )
        wanted = Wanted(wanted.size, address)
    assert wanted.address is not None
    end = wanted.address + wanted.size
    if not any(start <= wanted.address and end <= start + size for start, size in free):
        raise UsageError(
            f"--canary: {wanted.address:#x} to {end:#x} is in no memmap=SIZE$ADDRESS of the "
            "command line, or in one with a trace instance on it"
        )
    names = covering(root.text("proc/iomem"), wanted.address, wanted.size)
    if names != ["Reserved"]:
        what = ", ".join(names) or "nothing"
        raise UsageError(f"--canary: /proc/iomem calls {wanted.address:#x} {what}, not Reserved")
    return Cargo(cargo.session, wanted)


def _free(command: CommandLine) -> list[tuple[int, int]]:
    """(address, size) of the carve-outs that no trace instance is on."""
    instances = [(i.address, i.size or 0) for i in command.instances if i.address is not None]
    return [
        (start, size)
        for start, size in command.carved
        if not any(a < start + size and start < a + max(n, 1) for a, n in instances)
    ]


NOTHING = Cargo()


class Loaded:
    """Cargo on its way: a context manager that is left only if the jump does not come."""

    def __init__(self, root: Sysroot, cargo: Cargo) -> None:
        """Raises :class:`~tracekit.errors.SourceError` with the kernel's reason."""
        self._root = root
        self._cargo = cargo
        self._session: LuoSession | None = None
        self._seed = secrets.token_bytes(32)
        self._canary: Canary | None = None
        self._memory: mmap.mmap | None = None
        with ExitStack() as stack:
            wanted = cargo.canary
            if cargo.session is not None or (wanted is not None and wanted.address is None):
                device = stack.enter_context(LiveUpdate())
                if cargo.session is not None:
                    self._session = stack.enter_context(device.create(cargo.session))
                if wanted is not None and wanted.address is None:
                    session = stack.enter_context(device.create(LUO_SESSION))
                    self._preserve_canary(session, wanted.size, stack)
            if wanted is not None and wanted.address is not None:
                self._map_canary(wanted.address, wanted.size, stack)
            self._stack = stack.pop_all()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _preserve_canary(self, session: LuoSession, size: int, stack: ExitStack) -> None:
        """Preserving moves pages out of the scratch area, so only then their places are known."""
        fd = os.memfd_create("tracekit-canary", os.MFD_CLOEXEC)
        stack.callback(os.close, fd)
        os.ftruncate(fd, size)
        session.preserve(fd, LUO_TOKEN)
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._memory = stack.enter_context(mmap.mmap(fd, size, flags))
        spans = tuple(_physical(self._memory, size))
        self._canary = Canary(self._seed.hex(), size, "luo", spans)

    def _map_canary(self, address: int, size: int, stack: ExitStack) -> None:
        device = f"/{DEVICE}"
        try:
            fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            self._memory = stack.enter_context(mmap.mmap(fd, size, offset=address))
        except OSError as error:
            raise SourceError(
                f"{device}: {size} bytes at {address:#x} cannot be mapped to be written: "
                f"{error.strerror}: kernel lockdown forbids it, and so does memory in use"
            ) from error
        spans = (Physical(0, address, size),)
        self._canary = Canary(self._seed.hex(), size, "carveout", spans)

    def describe(self) -> Iterator[str]:
        """What will cross, in words."""
        if self._session is not None:
            yield f"the session crosses in memory, as luo:{self._session.name}"
        if self._canary is not None:
            where = "a memfd of LUO" if self._canary.place == "luo" else "a carve-out"
            address = self._canary.address_of(0)
            place = "an unknown address" if address is None else f"{address:#x}"
            yield f"canary: {self._canary.size >> 10} KiB in {where}, the first page at {place}"

    def stow(self, session: Path) -> None:
        """Put all in place; nobody may have the session at ``session`` open."""
        if self._canary is not None:
            with SessionWriter.open(session) as writer:
                boot = _running(self._root, writer)
                writer.write(f"boots/{boot}/{FILE}", self._canary.encode())
                writer.finish("snapshot")
        if self._session is not None:
            _send(self._session, session, self._stack)
        if self._canary is not None and self._memory is not None:
            for offset, pattern in chunks(self._seed, self._canary.size):
                self._memory[offset : offset + len(pattern)] = pattern


def _running(root: Sysroot, writer: SessionWriter) -> int:
    """The index of the running boot."""
    here = root.text(_BOOT_ID).strip()
    found = [boot for boot, kernel in known_boots(writer).items() if identity(kernel) == here]
    if not found:
        raise SourceError(f"{writer.path}: the running boot is not in it: what has recorded there?")
    return found[-1]


def _send(luo: LuoSession, session: Path, stack: ExitStack) -> None:
    """Preserve the packed session; the header comes last."""
    archive, suffix = pack(session)
    fd = os.memfd_create("tracekit-session", os.MFD_CLOEXEC)
    stack.callback(os.close, fd)
    size = -(-(HEADER_SIZE + len(archive)) // mmap.PAGESIZE) * mmap.PAGESIZE
    os.ftruncate(fd, size)
    luo.preserve(fd, TOKEN)
    with mmap.mmap(fd, size) as memory:
        memory[HEADER_SIZE : HEADER_SIZE + len(archive)] = archive
        memory[:HEADER_SIZE] = frame(archive, suffix)


def _physical(memory: mmap.mmap, size: int) -> Iterator[Physical]:
    """Where the pages of a mapping lie, those that follow each other as one; none if not shown."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    try:
        with _PAGEMAP.open("rb", buffering=0) as file:
            pages = -(-size // mmap.PAGESIZE)
            data = os.pread(file.fileno(), pages * 8, address // mmap.PAGESIZE * 8)
    except OSError:
        return
    entries = struct.unpack(f"={len(data) // 8}Q", data[: len(data) // 8 * 8])
    yield from islice(spans(entries, mmap.PAGESIZE), _MOST_SPANS)


def spans(entries: Sequence[int], page_size: int) -> Iterator[Physical]:
    """Entries of pagemap as spans; pages that are not present, or hidden, are in none."""
    first = count = 0
    for page, entry in enumerate([*entries, 0]):
        number = entry & _PFN if entry & _PRESENT else 0
        if count and number == first + count:
            count += 1
            continue
        if count:
            offset = (page - count) * page_size
            yield Physical(offset, first * page_size, count * page_size)
        first, count = number, int(number != 0)
