"""Hypothesis strategies: random lives of ring buffers, and random damage to their regions."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from hypothesis import strategies as st

from tests.support.ring.region_writer import (
    HEADER,
    CpuPlace,
    Region,
    RingBuffer,
    Write,
    layout_612,
    layout_615,
)

__all__ = ["DAMAGES", "LAYOUTS", "Damage", "Script", "Step", "damages", "payload", "region_scripts"]

SUBBUF_SIZES = (4096, 8192, 16384, 65536)

LAYOUTS: dict[str, Callable[..., Region]] = {
    "6.12": layout_612,
    "6.15": layout_615,
    "6.15 inject": lambda rings, **more: layout_615(rings, inject=True, **more),
}


def payload(serial: int, size: int = 16) -> bytes:
    """A common header (type 1..7, the serial as pid), then bytes that tell of the serial."""
    head = struct.pack("<HBBi", 1 + serial % 7, serial & 0xFF, 0, serial)
    return (head + struct.pack("<Q", serial * 0x9E37_79B9_7F4A_7C15 & (1 << 64) - 1)).ljust(
        max(size, 16), bytes([serial & 0xFF])
    )


@dataclass(frozen=True)
class Step:
    """One thing that happens on a CPU, ``gap`` clock units after the thing before."""

    kind: Literal["write", "burst", "discard", "nested", "dropped", "read", "reset"]
    cpu: int
    gap: int
    size: int = 16
    count: int = 1
    at: Literal["stamp", "reserve", "commit"] = "commit"


@dataclass(frozen=True)
class Script:
    """The lives of several CPUs' buffers. :meth:`play` gives the buffers at the end."""

    cpus: int
    nr_subbufs: int
    subbuf_size: int
    start: int
    steps: tuple[Step, ...]
    offline: frozenset[int] = frozenset()
    options: tuple[tuple[str, bool], ...] = ()
    unfinished: bool = False

    def _times(self, step: Step) -> int:
        """A burst fills ``count`` pages."""
        return step.count * self.subbuf_size // (step.size + 8) if step.kind == "burst" else 1

    def play(self) -> list[RingBuffer]:
        """Live it."""
        more: dict[str, Any] = dict(self.options)
        rings = [
            RingBuffer(self.nr_subbufs, self.subbuf_size, online=cpu not in self.offline, **more)
            for cpu in range(self.cpus)
        ]
        now, serial = self.start, 0

        def write(step: Step, **rest: Any) -> Write:
            nonlocal now, serial
            now, serial = now + 1, serial + 1
            size = min(step.size, rings[0].capacity - 16)
            return Write(now, payload(serial, size), **rest)

        for step in self.steps:
            if step.cpu in self.offline:
                continue
            ring, now = rings[step.cpu], now + step.gap
            if step.kind == "read":
                for _ in range(step.count):
                    ring.read_page()
            elif step.kind == "reset":
                ring.reset()
            elif step.kind in {"nested", "dropped"}:
                outer = write(step, discard=step.kind == "dropped", at=step.at)
                inner = tuple(write(step, at=step.at) for _ in range(step.count % 4 + 1))
                now += 1
                ring.play(replace(outer, interrupts=inner, resume_ts=now))
            else:
                for _ in range(self._times(step)):
                    ring.play(write(step, discard=step.kind == "discard"))
        if self.unfinished and 0 not in self.offline:
            step = Step("write", 0, 0)
            rings[0].play(write(step, unfinished=True, interrupts=(write(step),)))
        return rings


_GAPS = st.one_of(
    st.integers(0, 5000),
    st.integers((1 << 27) - 3, (1 << 27) + 3),
    st.integers(0, 1 << 45),
)
# Not just below 1 << 59: there the kernel's own reading of absolute stamps breaks (rb_fix_abs_ts).
_STARTS = st.sampled_from([1, 1 << 33, 123_456_789_012, (0xA8 << 56) + 5, (0x10 << 56) - (1 << 46)])


@st.composite
def _steps(draw: st.DrawFn, cpus: int, subbuf_size: int) -> Step:
    kinds = ["write", "burst", "burst", "discard", "nested", "dropped", "read", "read", "reset"]
    kind = draw(st.sampled_from(kinds))
    capacity = subbuf_size - HEADER
    sizes = [capacity // 2, capacity // 7, capacity // 19, capacity // 36, capacity]
    if kind != "burst":
        sizes += [16, 20, 27, 40, 100, 108, 112, 113, 116, 200]
    return Step(
        kind,  # type: ignore[arg-type]
        cpu=draw(st.integers(0, cpus - 1)),
        gap=draw(_GAPS),
        size=draw(st.sampled_from(sizes)),
        count=draw(st.integers(1, 12)),
        at=draw(st.sampled_from(["stamp", "reserve", "commit"])),
    )


@st.composite
def region_scripts(
    draw: st.DrawFn,
    max_cpus: int = 8,
    subbuf_sizes: tuple[int, ...] = SUBBUF_SIZES,
    max_steps: int = 40,
) -> Script:
    """Writes, bursts that wrap around, discards, interrupts, reads, resets and time jumps."""
    cpus = draw(st.integers(1, max_cpus))
    subbuf_size = draw(st.sampled_from(subbuf_sizes))
    flags = ("overwrite", "clears_stamp", "force_8byte")
    return Script(
        cpus=cpus,
        nr_subbufs=draw(st.integers(3, 9)),
        subbuf_size=subbuf_size,
        start=draw(_STARTS),
        steps=tuple(draw(st.lists(_steps(cpus, subbuf_size), min_size=1, max_size=max_steps))),
        offline=draw(st.frozensets(st.integers(0, cpus - 1), max_size=2)),
        options=tuple((flag, draw(st.booleans())) for flag in flags),
        unfinished=draw(st.booleans()),
    )


@dataclass(frozen=True)
class Damage:
    """A damaged region, and what of it nobody can be expected to read.

    ``pages``: (cpu, slot) pairs; the rest of these CPUs must be read in full. ``cpus``: their
    meta is hurt; the other CPUs must be read in full. ``header``: the region's own header is
    hurt; nothing is asked but good manners.
    """

    kind: str
    data: bytes
    pages: frozenset[tuple[int, int]] = frozenset()
    cpus: frozenset[int] = frozenset()
    header: bool = False


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _whose(region: Region, at: int) -> tuple[int, int | None] | None:
    """(cpu, slot) of a byte; the slot is None in a CPU's meta, and all is None before them."""
    for cpu, place in enumerate(region.places):
        if place.meta <= at < place.subbufs:
            return cpu, None
        if place.subbufs <= at < place.end:
            return cpu, (at - place.subbufs) // region.rings[cpu].subbuf_size
    return None


def _some_cpu(draw: st.DrawFn, region: Region) -> tuple[int, CpuPlace, RingBuffer]:
    cpu = draw(st.integers(0, len(region.rings) - 1))
    return cpu, region.places[cpu], region.rings[cpu]


def _truncate(draw: st.DrawFn, region: Region) -> Damage:
    at = draw(st.integers(0, len(region.data) - 1))
    pages = {
        (cpu, slot)
        for cpu, (place, ring) in enumerate(zip(region.places, region.rings, strict=True))
        for slot in range(ring.nr_subbufs)
        if place.subbufs + (slot + 1) * ring.subbuf_size > at
    }
    cpus = {cpu for cpu, place in enumerate(region.places) if place.subbufs > at}
    first = region.places[0].meta
    return Damage("truncate", region.data[:at], frozenset(pages), frozenset(cpus), at < first)


def _flip(draw: st.DrawFn, region: Region) -> Damage:
    data, header = bytearray(region.data), False
    pages: set[tuple[int, int]] = set()
    cpus: set[int] = set()
    last = region.places[-1].end - 1
    hot = st.sampled_from(sorted(_hot_spots(region)))
    for at in draw(st.lists(st.one_of(st.integers(0, last), hot), min_size=1, max_size=8)):
        data[at] ^= 1 << draw(st.integers(0, 7))
        owner = _whose(region, at)
        if owner is None:
            header = True
        elif owner[1] is None:
            cpus.add(owner[0])
        else:
            pages.add((owner[0], owner[1]))
    return Damage("flip", bytes(data), frozenset(pages), frozenset(cpus), header)


def _hot_spots(region: Region) -> set[int]:
    """Bytes that matter: the metas, the page headers and the first event headers."""
    spots = set(range(region.places[0].meta and 48))
    for place, ring in zip(region.places, region.rings, strict=True):
        spots |= set(range(place.meta, place.buffers + 4 * ring.nr_subbufs))
        for slot in range(ring.nr_subbufs):
            at = place.subbufs + slot * ring.subbuf_size
            spots |= set(range(at, at + HEADER + 12))
    return spots


def _buffers(draw: st.DrawFn, region: Region) -> Damage:
    """buffers[] with a slot twice, or out of range."""
    cpu, place, ring = _some_cpu(draw, region)
    which = draw(st.integers(0, ring.nr_subbufs - 1))
    values = [*range(ring.nr_subbufs), -1, ring.nr_subbufs, (1 << 31) - 1, -(1 << 31)]
    value = draw(st.sampled_from([v for v in values if v != ring.buffers[which]]))
    data = _patched(region.data, place.buffers + 4 * which, struct.pack("<i", value))
    return Damage("buffers", data, cpus=frozenset({cpu}))


def _commit(draw: st.DrawFn, region: Region) -> Damage:
    """A commit past the page."""
    cpu, place, ring = _some_cpu(draw, region)
    slot = draw(st.integers(0, ring.nr_subbufs - 1))
    past = [ring.capacity + 1, ring.capacity + 4, ring.subbuf_size + 1, 0x3FFF_FFFF, 1 << 40]
    value = draw(st.sampled_from([*past, (1 << 63) | 8, (1 << 64) - 1]))
    at = place.subbufs + slot * ring.subbuf_size + 8
    data = _patched(region.data, at, struct.pack("<Q", value))
    return Damage("commit", data, pages=frozenset({(cpu, slot)}))


def _length(draw: st.DrawFn, region: Region) -> Damage:
    """An absurd length in some event's header."""
    cpu, place, ring = _some_cpu(draw, region)
    slot = draw(st.integers(0, ring.nr_subbufs - 1))
    starts = [event.start for event in ring.pages[slot].events] or [0]
    at = place.subbufs + slot * ring.subbuf_size + HEADER + draw(st.sampled_from(starts))
    kind = draw(st.sampled_from([0, 28, 29, 29 | 2 << 5, 30, 31]))
    size = draw(st.sampled_from([0, 1, 3, 4, 5, 7, 1 << 12, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]))
    data = _patched(region.data, at, struct.pack("<II", kind, size))
    return Damage("length", data, pages=frozenset({(cpu, slot)}))


def _zeroed_meta(draw: st.DrawFn, region: Region) -> Damage:
    cpu, place, _ = _some_cpu(draw, region)
    data = _patched(region.data, place.meta, bytes(place.subbufs - place.meta))
    return Damage("zeroed meta", data, cpus=frozenset({cpu}))


def _pointer(draw: st.DrawFn, region: Region) -> Damage:
    """First, head or commit point outside, or into the middle of a sub-buffer."""
    cpu, place, ring = _some_cpu(draw, region)
    field = draw(st.sampled_from([0, 8, 16]))
    first = region.base_va + place.subbufs
    end = first + ring.nr_subbufs * ring.subbuf_size
    values = [0, 1, first - 1, first - ring.subbuf_size, first + 5, end, end + 1, (1 << 64) - 1]
    value = draw(st.sampled_from(values))
    data = _patched(region.data, place.pointers + field, struct.pack("<Q", value))
    return Damage("pointer", data, cpus=frozenset({cpu}))


def _sizes(draw: st.DrawFn, region: Region) -> Damage:
    """An absurd subbuf_size or nr_subbufs."""
    cpu, place, ring = _some_cpu(draw, region)
    field = draw(st.sampled_from([0, 4]))
    near = ring.nr_subbufs if field else ring.subbuf_size
    values = [0, 1, 3, near + 1, near * 2, 1 << 20, 1 << 31, (1 << 32) - 1]
    value = draw(st.sampled_from(values))
    data = _patched(region.data, place.sizes + field, struct.pack("<I", value))
    return Damage("sizes", data, cpus=frozenset({cpu}))


def _header(draw: st.DrawFn, region: Region) -> Damage:
    """A wrong word in the first 64 bytes (magic, sizes, total_size, buffers_offset, scratch)."""
    at = 4 * draw(st.integers(0, 15))
    value = draw(st.sampled_from([0, 1, 24, 64, 4096, len(region.data), 1 << 31, (1 << 32) - 1]))
    data = _patched(region.data, at, struct.pack("<I", value))
    return Damage("header", data, header=True)


DAMAGES: dict[str, Callable[[st.DrawFn, Region], Damage]] = {
    "truncate": _truncate,
    "flip": _flip,
    "buffers": _buffers,
    "commit": _commit,
    "length": _length,
    "zeroed meta": _zeroed_meta,
    "pointer": _pointer,
    "sizes": _sizes,
    "header": _header,
}


@st.composite
def damages(draw: st.DrawFn, region: Region, kind: str | None = None) -> Damage:
    """One of :data:`DAMAGES` done to a region."""
    name = kind or draw(st.sampled_from(sorted(DAMAGES)))
    return DAMAGES[name](draw, region)
