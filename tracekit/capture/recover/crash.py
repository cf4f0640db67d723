"""``tracekit recover`` in a crash kernel: all buffers of the dead one, then what came besides.

The dead kernel is read out of ``/proc/vmcore`` and saved as a boot of the session; a region that it
recorded into is copied as after any other way down, and the crash kernel is the boot after it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tracekit.capture.recover.dump import DumpResult, read_dead, save_dead
from tracekit.capture.recover.recover import RecoverResult, recover
from tracekit.carriers.carve_out import DEVICE, halves
from tracekit.carriers.device_memory import DeviceMemory
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.carriers.machine import VMCORE, Machine
from tracekit.carriers.memory import PhysicalMemory, Range
from tracekit.errors import Diagnostic, NothingToRecover, SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kernel import open_kernel
from tracekit.kmemory.machine import about
from tracekit.parameters import RegionSpec
from tracekit.remarks import Progress, no_progress
from tracekit.sysroot import Sysroot

__all__ = ["Crashed", "dead_boot_id", "in_crash_kernel", "recover_crashed"]


@dataclass(frozen=True, slots=True)
class Crashed:
    """``dump`` is None where the dead kernel could not be read: ``why`` says what is in the way."""

    dump: DumpResult | None
    result: RecoverResult
    why: tuple[Diagnostic, ...] = ()


class _WithCarveOut:
    """A dump and, where it has nothing, the carve-out, which no ``/proc/vmcore`` holds."""

    def __init__(self, core: PhysicalMemory, device: PhysicalMemory) -> None:
        self._core, self._device = core, device
        self.vmcoreinfo = core.vmcoreinfo
        self.current_pids = core.current_pids

    @property
    def ranges(self) -> Sequence[Range]:
        return self._core.ranges

    def held(self, address: int, size: int) -> int:
        return max(m.held(address, size) for m in (self._core, self._device))

    def read(self, address: int, size: int) -> bytes:
        other = not self._core.held(address, 1) and self._device.holds(address, size)
        return (self._device if other else self._core).read(address, size)


def in_crash_kernel(root: Sysroot) -> bool:
    """Whether a crash kernel runs, or is in the tree, with the memory of the dead one."""
    return bool(Machine(root).crash_kernel) and root.exists(VMCORE)


@contextmanager
def _memory(root: Sysroot) -> Iterator[PhysicalMemory | _WithCarveOut]:
    """The dead kernel's memory: vmcore, and what this kernel's ``memmap=`` has kept."""
    with ExitStack() as stack:
        stream = root.open_binary(VMCORE)
        if stream is None:
            raise SourceError(f"{root.where(VMCORE)}: not there")
        core = stack.enter_context(open_dump(stream, root.where(VMCORE)))
        places = [RegionSpec("", *place) for place in halves(Machine(root).command)]
        try:
            device = root.open_memory(DEVICE) if places else None
        except SourceError:
            device = None  # its pages will be missed, and said to be
        if device is None:
            yield core
        else:
            memory = DeviceMemory(device, root.where(DEVICE), places)
            yield _WithCarveOut(core, stack.enter_context(memory))


def dead_boot_id(root: Sysroot) -> str | None:
    """The id of the boot that crashed; None where it cannot be told."""
    try:
        with _memory(root) as memory:
            return about(open_kernel(memory, memory.vmcoreinfo)).boot_id
    except SourceError:
        return None


def recover_crashed(
    root: Sysroot,
    choose: Callable[[str | None], str | os.PathLike[str]],
    progress: Progress = no_progress,
) -> Crashed:
    """Save the dead kernel, the regions that it recorded into, and this kernel's side.

    ``choose`` names the session: of the dead boot's id, or of None. Where the dead kernel cannot be
    read the regions and this kernel are what is saved. Raises as
    :func:`~tracekit.capture.recover.recover.recover`.
    """
    source = root.where(VMCORE)
    try:
        with _memory(root) as memory:
            dead = read_dead(memory, source)
            session = choose(dead.about.boot_id)
            dump = save_dead(dead, source, session, progress)
    except (SourceError, NothingToRecover) as error:
        why = Diagnostic("dead-kernel-unreadable", "warning", source, str(error))
        return Crashed(None, recover(root, choose(None), (), progress), (why,))
    return Crashed(dump, recover(root, dump.session, (), progress, alone=True))
