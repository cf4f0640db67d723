"""Whose memory is it: who uses a range of memory, by all that a kernel says about it.

:meth:`Memory.use_of` is the one function that decides it; doctor, record, handover, recover and
the decoder ask it. A claim is by the name of a ``reserve_mem=`` region or by physical address.

ramoops: module parameters in ``fs/pstore/ram.c``, ``ramoops`` nodes of a device tree; persistent
memory and reserved ranges: ``parse_memmap_one()`` in ``arch/x86/kernel/e820.c``; crash kernel:
``parse_crashkernel()`` in ``kernel/crash_reserve.c``; trace instances: ``enable_instances()`` in
``kernel/trace/trace.c``; what the kernel shows of all: ``/proc/iomem``.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from tracekit.carriers.dumps.signatures import identify
from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kho.tree import parse_memblock
from tracekit.parameters import (
    RegionSpec,
    memparse,
    parse_cmdline,
    split_parameters,
)
from tracekit.sysroot import KHO_ROOTS, Sysroot

__all__ = ["Memory", "Use", "carried_regions", "read_memory"]

Kind = Literal["free", "trace", "ramoops", "pmem", "crash kernel", "other"]

_IOMEM = re.compile(r"^ *([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.+)$", re.M)
_NOBODYS = ("system ram", "reserved", "ram buffer", "soft reserved")
_RAMOOPS = ("mem_name", "mem_address", "mem_size")
_OPTIONS = re.compile(r"^\s*options\s+ramoops\s+(.*)$", re.M)
_LISTS = ("etc/modprobe.d", "run/modprobe.d", "usr/lib/modprobe.d")
_RESERVED = "sys/firmware/devicetree/base/reserved-memory"
#: Parameters whose values are no names of memory.
_NOT_MEMORY = frozenset(
    {"reserve_mem", "trace_instance", "trace_clock", "trace_event", "tracekit.session",
     "BOOT_IMAGE", "initrd", "root", "init", "console", "rootfstype"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Use:
    """Who uses a range: ``who`` in words ('' for ``free``), ``instances`` on it for ``trace``."""

    kind: Kind
    who: str = ""
    instances: tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether somebody uses it for something else than tracing."""
        return self.kind not in ("free", "trace")


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody's claim to a region, by name or by physical range in bytes."""

    kind: Kind
    who: str
    region: str | None = None
    address: int = 0
    size: int = 0
    instance: str = ""

    def covers(self, name: str, address: int | None, size: int) -> bool:
        if self.region is not None:
            return self.region == name
        if address is None or not self.size:
            return False
        return address < self.address + self.size and self.address < address + max(size, 1)


class Memory:
    """Who uses which memory under one kernel; a function of what that kernel says."""

    def __init__(self, claims: Iterable[_Claim], places: Iterable[RegionSpec] = ()) -> None:
        self._claims = tuple(claims)
        self._places = {place.name: place for place in places}

    @classmethod
    def of(
        cls,
        cmdline: str,
        *,
        iomem: str = "",
        ramoops: Sequence[tuple[str, Mapping[str, str]]] = (),
        nodes: Sequence[tuple[int, int]] = (),
        places: Iterable[RegionSpec] = (),
    ) -> Memory:
        """From the texts of a kernel.

        ``ramoops`` are its parameters where they are given besides the command line: (where,
        name -> value); ``nodes`` the (address, size) of ramoops in the device tree; ``places``
        where ``reserve_mem`` regions lie, as far as that is known.
        """
        claims = (
            *_instances(cmdline),
            *_parameters(cmdline),
            *(claim for where, values in ramoops for claim in _ramoops(where, values)),
            *(_Claim("ramoops", "ramoops (device tree)", None, a, n) for a, n in nodes),
            *_shown(iomem),
        )
        return cls(claims, places)

    def use_of(
        self, name: str, address: int | None = None, size: int = 0, head: bytes = b""
    ) -> Use:
        """Who uses a region: somebody else first, then trace instances, else it is free.

        Where ``address`` is None, the place of the ``reserve_mem`` region of this name counts, if
        it is known. ``head`` are its first bytes, where they are at hand: what they show counts
        where nobody is known to have claimed it.
        """
        if address is None and (place := self._places.get(name)) is not None:
            address, size = place.address, place.size
        claims = [claim for claim in self._claims if claim.covers(name, address, size)]
        others = [claim for claim in claims if claim.kind != "trace"]
        if others:
            return Use(others[0].kind, ", ".join(dict.fromkeys(claim.who for claim in others)))
        shown = identify(head)
        if shown is not None and shown.kind == "ramoops":
            return Use("ramoops", f"ramoops, by its first bytes: {shown.name}")
        if claims:
            instances = tuple(dict.fromkeys(claim.instance for claim in claims))
            return Use("trace", ", ".join(dict.fromkeys(c.who for c in claims)), instances)
        return Use("free")


def _instances(cmdline: str) -> Iterator[_Claim]:
    for instance in parse_cmdline(cmdline).instances:
        if instance.region is not None:
            who = f"trace instance {instance.name} (@{instance.region})"
            yield _Claim("trace", who, instance.region, instance=instance.name)
        elif instance.address is not None:
            who = f"trace instance {instance.name} (@{instance.address:#x})"
            size = instance.size or 0
            yield _Claim("trace", who, None, instance.address, size, instance.name)


def _parameters(cmdline: str) -> Iterator[_Claim]:
    """The claims of other parameters: ramoops, memmap, crashkernel, and who names a region."""
    ramoops: dict[str, str] = {}
    names = {memory.name for memory in parse_cmdline(cmdline).reserve_mem}
    for parameter, value in split_parameters(cmdline):
        name = parameter.replace("-", "_")
        if not value or name in _NOT_MEMORY:
            continue
        module, _, key = name.partition(".")
        if module == "ramoops" and key in _RAMOOPS:
            ramoops[key] = value
        elif name == "memmap":
            yield from _memmap(value)
        elif name == "crashkernel":
            yield from _crashkernel(value)
        else:
            for word in names.intersection(re.split(r"[,:@]", value)):
                yield _Claim("other", f"{parameter}={value}", word)
    yield from _ramoops("", ramoops)


def _number(text: str) -> int:
    parsed = memparse(text.strip())
    return parsed[0] if parsed else 0


def _ramoops(where: str, values: Mapping[str, str]) -> Iterator[_Claim]:
    source = f" in {where}" if where else ""
    prefix = "" if where else "ramoops."
    name = values.get("mem_name", "").strip()
    if name not in ("", "(null)"):
        yield _Claim("ramoops", f"ramoops ({prefix}mem_name={name}{source})", name)
    if address := _number(values.get("mem_address", "")):
        size = _number(values.get("mem_size", "")) or 1
        yield _Claim(
            "ramoops", f"ramoops ({prefix}mem_address={address:#x}{source})", None, address, size
        )


def _memmap(value: str) -> Iterator[_Claim]:
    """``memmap=SIZE!ADDRESS`` (persistent memory), ``SIZE#ADDRESS`` (ACPI); others claim none."""
    for part in value.split(","):
        size = memparse(part)
        if size is None or size[1][:1] not in ("!", "#"):
            continue
        start = _number(size[1][1:])
        kind: Kind = "pmem" if size[1][0] == "!" else "other"
        who = "persistent memory" if kind == "pmem" else "ACPI"
        yield _Claim(kind, f"{who} (memmap={part})", None, start, size[0])


def _crashkernel(value: str) -> Iterator[_Claim]:
    """``crashkernel=SIZE@ADDRESS``, also with ranges of RAM, of which the largest size counts."""
    sizes, at, start = value.partition("@")
    if at:
        parts = (part.rpartition(":")[2] for part in sizes.split(","))
        size = max(map(_number, parts), default=0)
        who = f"the crash kernel (crashkernel={value})"
        yield _Claim("crash kernel", who, None, _number(start), size)


def _shown(iomem: str) -> Iterator[_Claim]:
    """``/proc/iomem``; without root its addresses are zeros and say nothing."""
    for match in _IOMEM.finditer(iomem):
        first, last, name = int(match[1], 16), int(match[2], 16), match[3].strip()
        lower = name.lower()
        if not last or lower.startswith(_NOBODYS):
            continue
        kind: Kind = "other"
        if lower.startswith(("persistent memory", "namespace", "pmem")):
            kind = "pmem"
        elif lower.startswith("crash kernel"):
            kind = "crash kernel"
        elif "ramoops" in lower or "persistent_ram" in lower:
            kind = "ramoops"
        yield _Claim(kind, f"{name} in /proc/iomem", None, first, last - first + 1)


def carried_regions(root: Sysroot, sides: Sequence[str] = ("out",)) -> list[RegionSpec]:
    """The ``reserve_mem`` regions that KHO hands on (``out``) or has brought (``in``).

    As far as debugfs shows them: none where it does not, or shows rubbish.
    """
    for place in KHO_ROOTS:
        for side in sides:
            try:
                blob = root.get(f"{place}/{side}/sub_fdts/memblock")
                regions = parse_memblock(blob or b"")
            except (ParseError, SourceError):
                continue
            return [RegionSpec(r.name, r.address, r.size) for r in regions]
    return []


def read_memory(root: Sysroot) -> Memory:
    """What the kernel below ``root`` says; what cannot be read says nothing."""

    def text(rel: str) -> str:
        with contextlib.suppress(SourceError):
            return (root.get(rel) or b"").decode("utf-8", "backslashreplace")
        return ""

    return Memory.of(
        text("proc/cmdline"),
        iomem=text("proc/iomem"),
        ramoops=list(_ramoops_modules(root)),
        nodes=list(_ramoops_nodes(root)),
        places=carried_regions(root, ("out", "in")),
    )


def _ramoops_modules(root: Sysroot) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Parameters of the module: those it has, else those modprobe will give it."""
    base = "sys/module/ramoops/parameters"
    values: dict[str, str] = {}
    for name in _RAMOOPS:
        with contextlib.suppress(SourceError):
            values[name] = (root.get(f"{base}/{name}") or b"").decode("utf-8", "replace").strip()
    if any(values.values()):
        yield root.where(base), values
        return
    for directory in _LISTS:
        with contextlib.suppress(SourceError):
            for rel in root.glob(f"{directory}/*.conf"):
                for match in _OPTIONS.finditer((root.get(rel) or b"").decode("utf-8", "replace")):
                    yield root.where(rel), {n: v or "" for n, v in split_parameters(match[1])}


def _ramoops_nodes(root: Sysroot) -> Iterator[tuple[int, int]]:
    """(address, size) of the ``ramoops`` nodes of a device tree, which is big-endian."""
    with contextlib.suppress(SourceError):
        for rel in root.glob(f"{_RESERVED}/*/compatible"):
            if b"ramoops" not in (root.get(rel) or b"").split(b"\0"):
                continue
            cells = root.get(rel.removesuffix("compatible") + "reg") or b""
            if len(cells) in (8, 16):
                address, size = struct.unpack(">QQ" if len(cells) == 16 else ">II", cells)
                yield address, size
