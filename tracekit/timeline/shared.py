"""A region that several kernels recorded into, one after the other: whose each sub-buffer is.

``regions/NAME.json`` lists the boots in ``writers``, oldest first, ``''`` for one that is unknown.
A kernel that attaches a region again with events to record (``trace_instance=NAME@REGION,EVENT``)
resets the buffers of the CPUs that are online then; those of CPUs that come up later keep what the
kernel before left, but for the sub-buffer that was being written (:mod:`tracekit.ftrace.ring.
restarts`). ``instances/NAME`` of a ``trace_instance=NAME=OTHER`` is the kernel's own copy of what
was there at its start, and its counters tell how many events those were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from weakref import WeakKeyDictionary

import numpy as np

from tracekit.capture.save.clocks import last_count
from tracekit.clocks.fit import read_samples
from tracekit.clocks.kernel_log import KernelLog, read_kernel_log
from tracekit.errors import ParseError, SessionError
from tracekit.frozen import dataclass, field
from tracekit.ftrace.format import HeaderPage
from tracekit.ftrace.ring.layout import CpuBuffer, RegionLayout, parse_layout
from tracekit.ftrace.ring.page import Records
from tracekit.ftrace.ring.restarts import restarts, split_at
from tracekit.session import Session
from tracekit.session.identity import identity
from tracekit.session.regions import read_region, region_address, region_reader, region_writers
from tracekit.spans import Span, overlaps
from tracekit.timeline.boot import Boot
from tracekit.timeline.saved.counters import parse_stats

__all__ = [
    "CpuShares", "Writer", "lost_to_the_next", "share_out", "writer_of", "writers_in",
]  # fmt: skip

_COMMIT = 0x3FFFFFFF
_MICROSECOND = 1000  # ns; the kernel shows the oldest event's stamp rounded to it
_GOES_ON = "x86-tsc"  # the only trace clock that a kexec does not set back

Stats = Mapping[str, int]


@dataclass(frozen=True)
class Writer:
    """What is known of one of the boots that recorded into the region.

    ``stats(cpu)``: the instance's counters as they were last saved. If the region's clock did not
    start anew with a kernel, in units of that clock: ``zero``, where this one began, ``late``: or
    somewhat before that; and ``last``, when it was still there.
    """

    stats: Callable[[int], Stats] = field(default=lambda _: {})
    zero: int | None = None
    late: bool = False
    last: int | None = None


@dataclass(frozen=True, slots=True)
class CpuShares:
    """The sub-buffers of one CPU by writer; ``strange`` are those of none of them.

    ``told``: False where nothing tells whose they are.
    """

    parts: tuple[Sequence[int], ...]
    strange: Sequence[int] = ()
    told: bool = True


def writer_of(
    session: Session, index: int | None, region: str, address: int | None, clock: str | None
) -> Writer:
    """What the session knows of the boot ``index`` as a writer of a region; None: not in it."""
    if index is None:
        return Writer()
    boot = Boot(session, index)
    instance = boot.instance_on(region, address)

    def stats(cpu: int) -> Stats:
        return parse_stats(boot.text(f"tracefs/instances/{instance}/per_cpu/cpu{cpu}/stats"))

    if clock != _GOES_ON:
        return Writer(stats)
    last, log = last_count(boot.text("clocks.json").encode("utf-8", "replace")), _log(boot)
    return Writer(stats, _zero(boot, log), log.late, last)


#: By the region's path: each boot of a chain asks for each of them.
_LATER: WeakKeyDictionary[Session, dict[str, list[int]]] = WeakKeyDictionary()


def _attached_later(session: Session, owner: int, path: str, address: int) -> list[Boot]:
    """The boots after ``owner``, up to the one that read the region, that had it attached."""
    known = _LATER.setdefault(session, {})
    if path not in known:
        known[path] = [boot.index for boot in _find_later(session, owner, path, address)]
    return [Boot(session, index) for index in known[path]]


def _find_later(session: Session, owner: int, path: str, address: int) -> list[Boot]:
    reader, later = region_reader(session, path), list[Boot]()
    if reader and reader == identity(Boot(session, owner).kernel):
        return later
    for index in (i for i in session.boots if i > owner):
        boot = Boot(session, index)
        known = identity(boot.kernel)
        if known and boot.instance_on("", address):
            later.append(boot)
        if known and known == reader:
            break
    return later


def writers_in(session: Session, path: str, one: str = "") -> tuple[str, ...]:
    """What identifies the boots that recorded into the region at ``path``, oldest first.

    ``one``: nothing else is asked than whether this one is among them.
    By ``regions/NAME.json``; none where it was one. A kernel of 6.12 to 6.14 that attaches a region
    again leaves the header as it was (``rb_range_meta_init()``, kernel/trace/ring_buffer.c), so
    there a stamp from after its own begin tells that it recorded on.
    """
    listed, address = region_writers(session, path), region_address(session, path)
    if listed or address is None:
        return listed
    owner = Boot(session, int(path.split("/")[1]))
    later = _attached_later(session, owner.index, path, address)
    if one and one not in (identity(boot.kernel) for boot in later):
        return ()
    if not later or owner.trace_clock(owner.instance_on("", address)) != _GOES_ON:
        return ()
    try:
        region = read_region(session, path)
        layout = parse_layout(region.data, path, owner.header_page, region.unread)
    except (ParseError, SessionError):
        return ()
    if layout.clock is not None:
        return ()
    view, header = memoryview(region.data), owner.header_page
    used = [p for cpu in layout.cpus for p in _used(view, cpu.pages, header)]
    newest = max(_stamps(view, used, header, region.unread), default=0)
    zeros = ((boot, _zero(boot, _log(boot))) for boot in later)
    on = [identity(boot.kernel) for boot, zero in zeros if zero is not None and newest >= zero]
    return (identity(owner.kernel), *on) if on else ()


def _log(boot: Boot) -> KernelLog:
    return read_kernel_log(boot.text("dmesg"))


def _zero(boot: Boot, log: KernelLog) -> int | None:
    """The TSC's count where the boot's CLOCK_MONOTONIC began; None where nothing tells.

    Its own calibration is good enough: no CPU but the first is up for long after that.
    """
    khz = log.refined_khz or log.detected_khz
    try:
        samples, _ = read_samples(boot.session.json(f"boots/{boot.index}/clocks.json")["samples"])
    except (SessionError, KeyError, TypeError):
        return None
    pairs = samples.get("mono", ())
    return pairs[0].before - pairs[0].ns * khz // 1_000_000 if pairs and khz else None


def _stamps(
    data: memoryview, pages: Sequence[int], header: HeaderPage, unread: Sequence[Span]
) -> list[int]:
    """The pages' time stamps; an unread one has that of the page before it."""
    stamps: list[int] = []
    for page in pages:
        at = page + header.timestamp
        stamp = int.from_bytes(data[at : at + 8], "little")
        if overlaps(unread, page, header.data):
            stamp = stamps[-1] if stamps else 0
        stamps.append(stamp)
    return stamps


def _used(data: memoryview, pages: Sequence[int], header: HeaderPage) -> list[int]:
    """The pages that hold events."""
    at = header.commit
    return [p for p in pages if int.from_bytes(data[p + at : p + at + 4], "little") & _COMMIT]


def _is_first(stamp: int, stats: Stats) -> bool:
    """Whether a first sub-buffer is what the counters say was the oldest."""
    oldest = stats.get("oldest event ts")
    return bool(stats.get("entries")) and oldest is not None and abs(stamp - oldest) <= _MICROSECOND


def _single_owner(cpu: CpuBuffer, stamp: int, writers: Sequence[Writer]) -> int:
    """The writer of a CPU's sub-buffers if they are all of one."""
    for number, writer in enumerate(writers[:-1]):
        if _is_first(stamp, writer.stats(cpu.cpu)):
            return number
    newest, before = writers[-1].stats(cpu.cpu), writers[-2].stats(cpu.cpu)
    # Writing into a full ring overruns it, so the newest has not written; it counts its own only.
    full = cpu.wrapped is True and bool(before.get("entries"))
    return len(writers) - 2 if full and newest.get("overrun") == 0 else len(writers) - 1


def _by_zero(stamps: Sequence[int], writers: Sequence[Writer]) -> list[int] | None:
    """Where each later writer's sub-buffers begin, on a clock that went on; None if not known."""
    zeros = [writer.zero for writer in writers[1:] if writer.zero is not None]
    if len(zeros) < len(writers) - 1 or zeros != sorted(zeros):
        return None
    begins = (
        _begin(stamps, zero, before.last, later.late)
        for (before, later), zero in zip(pairwise(writers), zeros, strict=True)
    )
    return list(accumulate(begins, max))


def _begin(stamps: Sequence[int], zero: int, last: int | None, late: bool) -> int:
    """Where the sub-buffers begin of a kernel whose CLOCK_MONOTONIC began at ``zero``.

    Where ticks alone drove that for a while (``late``), some were lost, and ``zero`` is too late.
    The dark part is then the longest time without a sub-buffer since ``last``, when the kernel
    before was still there.
    """
    place = next((i for i, stamp in enumerate(stamps) if stamp >= zero), len(stamps))
    if not late or last is None:
        return place
    first = next((i for i in range(place) if stamps[i] > last), place)
    times = [max(last, stamps[first - 1]) if first else last, *stamps[first:place], zero]
    gaps = [b - a for a, b in pairwise(times)]
    return first + gaps.index(max(gaps))


def _shares_of(
    pages: Sequence[int],
    stamps: Sequence[int],
    cpu: CpuBuffer,
    writers: Sequence[Writer],
    clock: str | None,
) -> CpuShares:
    """Share out ``pages``, the used ones of a CPU, and ``stamps``, theirs."""
    nothing: list[Sequence[int]] = [()] * len(writers)
    if not pages:
        return CpuShares((*nothing[:-1], cpu.pages))
    if not cpu.ordered:
        return CpuShares(tuple(nothing), cpu.pages, told=False)
    sure, doubtful = restarts(stamps, clock)
    if clock == _GOES_ON and not sure:  # else firmware has reset the TSC
        places = _by_zero(stamps, writers)
        if places is None:
            return CpuShares(tuple(nothing), cpu.pages, told=False)
        return CpuShares(tuple(split_at(pages, places)))
    if not sure and doubtful and len(writers) == 2:
        sure = doubtful[:1] if _is_first(stamps[0], writers[0].stats(cpu.cpu)) else []
    parts = split_at(pages, sure)
    if len(parts) == 1:
        nothing[_single_owner(cpu, stamps[0], writers)] = tuple(pages)
        return CpuShares(tuple(nothing))
    strange = [page for part in parts[: -len(writers)] for page in part]
    known = parts[-len(writers) :]
    return CpuShares((*nothing[len(known) :], *known), tuple(strange))


def share_out(
    data: bytes,
    layout: RegionLayout,
    header: HeaderPage,
    writers: Sequence[Writer],
    clock: str | None,
    unread: Sequence[Span] = (),
) -> list[CpuShares]:
    """The shares of each of the region's CPUs; ``writers`` are two or more, oldest first.

    ``unread`` are the spans of ``data`` that could not be read.
    """
    view = memoryview(data)
    shares = []
    for cpu in layout.cpus:
        pages = _used(view, cpu.pages, header)
        stamps = _stamps(view, pages, header, unread)
        shares.append(_shares_of(pages, stamps, cpu, writers, clock))
    return shares


def lost_to_the_next(
    records: Records,
    copied: Mapping[str, int] | None,
    snapshot: Mapping[str, int],
    wrapped: bool | None,
) -> tuple[int | None, bool]:
    """What a CPU's record lost when a later kernel recorded on in the same region.

    Returns (events lost, whether that is a lower bound), None if it is not known.

    ``copied`` are the counters of the next kernel's copy of the buffer, which it made before it
    recorded; ``snapshot`` those that were saved before the jump.
    """
    overrun = snapshot.get("overrun", 0)
    if copied is not None and "entries" in copied:
        gone = max(0, copied["entries"] - len(records)) + overrun
        return gone, wrapped is not False and overrun > 0
    taken, entries = snapshot.get("now ts"), snapshot.get("entries", 0)
    if not entries and not len(records):
        return None, False
    gone = 0
    if taken is not None:
        stamps = np.frombuffer(records.ts, np.uint64)
        gone = max(0, entries + overrun - int(np.count_nonzero(stamps <= taken)))
    # The sub-buffer that was being written had a record, and the next kernel's first one is there.
    return max(1, gone), True
