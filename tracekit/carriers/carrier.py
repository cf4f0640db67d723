"""What a carrier is: a way that the memory with the record survives, and what tracekit asks of it.

Each is a class of its own file; :data:`tracekit.carriers.choice.CARRIERS` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from tracekit.carriers.evidence import Previous
from tracekit.carriers.machine import Machine
from tracekit.carriers.memory import PhysicalMemory
from tracekit.frozen import dataclass, field
from tracekit.kho.tree import KexecMetadata
from tracekit.parameters import RegionSpec
from tracekit.remarks import Remarks

__all__ = ["Arrival", "Carrier", "Found", "Promise", "Source", "State", "Verdict", "Way"]

Way = Literal["kexec", "reboot", "panic"]  #: a way down
State = Literal["in use", "ready", "possible", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a carrier keeps: through which ways down, and of CPU 0; ``needs`` is what it takes."""

    survives: tuple[Way, ...]
    cpu0: str
    needs: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a machine has of a carrier.

    ``in use``: this kernel records into it; ``ready``: it can, as it was booted; ``possible``:
    after ``remedy``; ``no``: not on this machine; ``unknown``: it cannot be seen.
    """

    carrier: str
    state: State
    why: str
    promise: Promise
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Physical memory to copy regions from: ``name`` is what is saved (``kcore``)."""

    name: str
    memory: PhysicalMemory


@dataclass(frozen=True, slots=True)
class Found:
    """A region that a carrier brought here; ``how`` it became known, as ``found_by`` is saved.

    ``file`` is where it is, for a region that the user named in a file: its address is then the
    offset there, and what its physical address was is not known.
    """

    region: RegionSpec
    how: str
    file: Source | None = None


@dataclass(slots=True)
class Arrival:
    """A kernel that has come up, and what carriers look for its predecessor's record with.

    ``previous`` is what the session knows of the kernel before, ``cores`` the ELF cores that could
    be opened (vmcore first), ``kho`` KHO's data by their names in ``kho/in/``, ``crash`` what shows
    that this is a crash kernel ('' where nothing does).
    """

    machine: Machine
    remarks: Remarks
    previous: Previous | None = None
    cores: Sequence[Source] = ()
    kho: Mapping[str, bytes] = field(default_factory=dict)
    metadata: KexecMetadata | None = None
    crash: str = ""


class Carrier(Protocol):
    """One way that memory survives."""

    @property
    def name(self) -> str:
        """What ``--carrier`` calls it."""

    @property
    def promise(self) -> Promise:
        """What it keeps."""

    def describe(self, machine: Machine) -> Verdict:
        """Whether this machine has it, or can."""

    def find(self, arrival: Arrival) -> list[Found]:
        """The regions that came.

        Raises :class:`~tracekit.errors.NothingToRecover`, saying why, where there is none; ''
        where none could be expected.
        """

    def read(self, arrival: Arrival, regions: Sequence[RegionSpec]) -> Sequence[Source]:
        """What its regions can be copied from, opened; what cannot be is a remark."""
