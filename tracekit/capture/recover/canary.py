"""Looks after the jump whether anything wrote into the canary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tracekit.capture.save.boots import known_boots
from tracekit.carriers.carve_out import DEVICE, covering
from tracekit.carriers.device_memory import DeviceMemory
from tracekit.carriers.luo.memfd import LiveUpdate
from tracekit.errors import ParseError, SourceError
from tracekit.parameters import RegionSpec
from tracekit.session import SessionWriter
from tracekit.session.canary import (
    LUO_SESSION,
    LUO_TOKEN,
    Canary,
    Findings,
    examine,
    read_document,
)
from tracekit.session.identity import identity
from tracekit.sysroot import Sysroot

__all__ = ["FILE", "check_canary"]

FILE = "canary.json"
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_Read = Callable[[int, int], bytes]


def check_canary(root: Sysroot, session: str | os.PathLike[str]) -> tuple[int, Canary] | None:
    """(boot that filled it, the canary with what was found), stored in the session.

    None where the boot before this one filled none, or it was looked at before.
    """
    if not any(Path(session).glob(f"boots/*/{FILE}")):
        return None
    here = root.text(_BOOT_ID).strip()
    with SessionWriter.open(session) as writer:
        boots = known_boots(writer)
        before = [boot for boot, kernel in boots.items() if identity(kernel) != here]
        boot = max(before, default=None)
        data = None if boot is None else writer.read(f"boots/{boot}/{FILE}")
        try:
            canary = None if data is None else read_document(data, f"boots/{boot}/{FILE}")
        except ParseError:
            canary = None  # the report says so
        if boot is None or canary is None or _seen(canary):
            _as_it_was(writer)
            return None
        canary = replace(canary, findings=_look(root, canary, here))
        writer.write(f"boots/{boot}/{FILE}", canary.encode())
        _as_it_was(writer)
        return boot, canary


def _seen(canary: Canary) -> bool:
    """Whether it was looked at; one that could not be read may be readable now."""
    return canary.findings is not None and not canary.findings.problem


def _as_it_was(writer: SessionWriter) -> None:
    """Finish without a claim that more was done than looking at the canary."""
    if writer.manifest.files:
        writer.finish(writer.earlier_state)
    else:
        writer.abandon()


def _look(root: Sysroot, canary: Canary, here: str) -> Findings:
    try:
        with _memory(root, canary) as read:
            return examine(canary, read, here)
    except (SourceError, OSError) as error:
        return Findings(here, problem=str(error))


@contextmanager
def _memory(root: Sysroot, canary: Canary) -> Iterator[_Read]:
    """Reads from the canary's memory, as this kernel has it."""
    with ExitStack() as stack:
        if canary.place == "luo" and not root.live:
            raise SourceError("a saved tree does not hold the memory of LUO")
        if canary.place == "luo":
            yield _memfd(canary, stack)
            return
        address = canary.address_of(0)
        if address is None:
            raise SourceError("the session does not say where it lay")
        names = covering(root.text("proc/iomem"), address, canary.size)
        if names and names != ["Reserved"]:
            raise SourceError(
                f"/proc/iomem calls {address:#x} {', '.join(names)}: this kernel was booted "
                "without the memmap= that keeps it, and has used it"
            )
        stream = root.open_memory(DEVICE)
        if stream is None:
            raise SourceError(f"no {root.where(DEVICE)}")
        region = RegionSpec("canary", address, canary.size)
        memory = stack.enter_context(DeviceMemory(stream, root.where(DEVICE), [region]))
        yield lambda offset, size: memory.read(address + offset, size)


def _memfd(canary: Canary, stack: ExitStack) -> _Read:
    device = stack.enter_context(LiveUpdate())
    session = device.retrieve(LUO_SESSION)
    if session is None:
        raise SourceError(f"the LUO session {LUO_SESSION!r} did not come with this boot")
    stack.enter_context(session)
    fd = session.retrieve(LUO_TOKEN)
    stack.callback(os.close, fd)
    with suppress(SourceError):  # closing it does the same
        session.finish()
    size = os.fstat(fd).st_size
    if size < canary.size:
        raise SourceError(f"{size} of {canary.size} bytes came")
    return lambda offset, length: os.pread(fd, length, offset)
