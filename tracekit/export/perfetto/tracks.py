"""What tracekit knows besides the events, as tracks: phases, devices, losses, clocks, notes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tracekit.export.perfetto.wire import Value, debug_values, message, number, packet, text
from tracekit.frozen import dataclass, field
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.session.notes import Notes
from tracekit.spill import release

__all__ = ["Slice", "Track", "tracks_of", "write_tracks"]

_BEGIN, _END, _INSTANT = 1, 2, 3  # TrackEvent.Type
_SEQUENCE = 2  # the packets' trusted_packet_sequence_id
_CLEARED = 1  # SEQ_INCREMENTAL_STATE_CLEARED
_FIRST_UUID = 0x7ACE_0000
_EXPLICIT = 3  # TrackDescriptor.ChildTracksOrdering
_SOME = 128  # rows from anywhere between which memory is let go of
_MOST_MARKS = 100_000


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of time, or an instant (``end`` is None); ns on the session's axis."""

    name: str
    start: int
    end: int | None
    values: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Track:
    """Slices under one name; those that overlap are put side by side."""

    name: str
    about: str
    slices: Sequence[Slice]


def tracks_of(recording: Recording, report: Report) -> list[Track]:
    """All that have something on them."""
    ends = {kind.boot: _last_ns(recording, kind.boot) for kind in recording.kinds}
    made = [
        Track("handover", "the blackout and the gap of each jump", _handovers(report)),
        Track("phases", "where the time went", list(_phases(report))),
        Track("device shutdowns", "calls of shutdown callbacks", list(_devices(report, ends))),
        Track("initcalls", "of the new kernel", [
            Slice(c.function, c.start_ns, c.start_ns + c.duration_ns,
                  {"level": c.level, "boot": c.boot, "ret": c.ret})
            for c in report.initcalls
        ]),
        Track("systemd units", "as systemd says", [
            Slice(u.name, u.start_ns, u.start_ns + u.duration_ns, {"boot": u.boot})
            for u in report.units if u.start_ns is not None
        ]),
        Track("KHO and LUO", "steps of a handover: the first call to the last", [
            Slice(s.name, s.start_ns, s.end_ns,
                  {"boot": s.boot, "calls": s.count, "failed": s.failed, "took_ns": s.took_ns,
                   "of": ", ".join(s.names) or None, "phase": s.phase or None,
                   "in_blackout": s.in_blackout})
            for s in report.kho_steps if s.start_ns is not None
        ]),
        Track("tracers", "what was done through tracefs", [
            Slice(f"{c.done} {c.file}".strip(), c.ns, None,
                  {"value": c.value, "instance": c.instance, "pid": c.pid, "boot": c.boot})
            for c in report.control if c.ns is not None
        ]),
        Track("marks", "what was written to trace_marker", list(_marks(recording))),
        Track("notes", "bookmarks of this session", list(_notes(recording))),
        Track("lost events", "where events are missing", list(_losses(recording, report))),
        Track("clocks", "what stamped each boot, and how well that is known",
              list(_clocks(recording, report))),
    ]  # fmt: skip
    return [track for track in made if track.slices]


def _last_ns(recording: Recording, boot: int) -> int:
    """When a boot's last event was; rows are in the order of time."""
    part = recording.rows.within(boot)
    return int(recording.axis.ts_ns[part.stop - 1]) if part.stop > part.start else 0


def _handovers(report: Report) -> list[Slice]:
    found = []
    for index, one in enumerate(report.handovers):
        if one.jump_ns is not None and one.gap_ns is not None:
            values: dict[str, Value] = {"error_ns": one.gap_error_ns, "method": one.gap_method}
            found.append(Slice("gap", one.jump_ns, one.jump_ns + one.gap_ns, values))
        known = [p for p in report.phases
                 if p.handover == index and p.in_blackout and p.start_ns is not None]  # fmt: skip
        if known and one.blackout_ns is not None and known[0].start_ns is not None:
            start = known[0].start_ns
            about: dict[str, Value] = {"error_ns": one.blackout_error_ns, "way": one.way.name}
            found.append(Slice("blackout", start, start + one.blackout_ns, about))
        if one.jump_ns is not None:
            found.append(Slice(one.zero, one.jump_ns, None, {"old": one.old, "new": one.new}))
    return found


def _phases(report: Report) -> Iterator[Slice]:
    for p in report.phases:
        if p.observed and p.start_ns is not None and p.duration_ns is not None:
            values: dict[str, Value] = {
                "boot": p.boot, "note": p.note or None, "in_blackout": p.in_blackout,
            }  # fmt: skip
            yield Slice(p.name, p.start_ns, p.start_ns + p.duration_ns, values)


def _devices(report: Report, ends: dict[int, int]) -> Iterator[Slice]:
    for d in report.devices:
        if d.start_ns is None:
            continue
        values: dict[str, Value] = {
            "driver": d.driver, "function": d.function, "boot": d.boot, "finished": d.finished,
            "bus_master": d.bus_master,
        }  # fmt: skip
        if d.duration_ns is not None:
            yield Slice(d.name, d.start_ns, d.start_ns + d.duration_ns, values)
        else:  # it never returned: it lasts as long as that kernel was seen
            yield Slice(d.name, d.start_ns, max(d.start_ns, ends.get(d.boot, d.start_ns)), values)


def _marks(recording: Recording) -> Iterator[Slice]:
    boots = (boot.index for boot in recording.boots)
    parts = (recording.rows.of_kinds(b, recording.codes(b, "ftrace:print")) for b in boots)
    rows = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))[:_MOST_MARKS]
    for start in range(0, len(rows), _SOME):
        table = recording.table(rows[start : start + _SOME])
        for row in table.select(["ts_ns", "boot", "cpu", "args"]).to_pylist():
            values: dict[str, Value] = {"boot": row["boot"], "cpu": row["cpu"]}
            yield Slice(row["args"].strip() or "(empty)", row["ts_ns"], None, values)
        release()


def _notes(recording: Recording) -> Iterator[Slice]:
    for mark in Notes.load(recording.session).bookmarks:
        values: dict[str, Value] = {"boot": mark.boot, "cpu": mark.cpu}
        yield Slice(mark.note or "bookmark", mark.ts_ns, None, values)


def _losses(recording: Recording, report: Report) -> Iterator[Slice]:
    """One instant for each CPU that has lost any, at its first event; and one for each hole."""
    for boot in report.boots:
        for cpu in boot.cpus:
            if cpu.first_ns is None or (cpu.lost == 0 and not cpu.unreadable):
                continue
            lost = "unknown" if cpu.lost is None else f"{'≥ ' * cpu.lost_at_least}{cpu.lost}"
            values: dict[str, Value] = {
                "boot": boot.index, "cpu": cpu.cpu, "lost": lost, "unreadable": cpu.unreadable,
            }  # fmt: skip
            name = f"boot {boot.index} CPU {cpu.cpu}: lost {lost} in all"
            yield Slice(name, cpu.first_ns, None, values)
    yield from _holes(recording)


def _holes(recording: Recording) -> Iterator[Slice]:
    """Where the kernel flagged that events were lost between two sub-buffers."""
    import numpy as np

    rows = recording.rows
    for number_, buffer in enumerate(recording.buffers):
        for records in (r for r in buffer.records if r.missed or r.missed_unknown):
            mine = np.flatnonzero((rows.buffer == number_) & (rows.cpu == records.cpu))
            order = mine[np.argsort(rows.offset[mine], kind="stable")]
            offsets = rows.offset[order]
            for page in records.pages():
                at = int(np.searchsorted(offsets, page.offset))
                if not page.missed or at >= len(order):
                    continue
                row = int(order[at])
                lost = "unknown" if page.missed < 0 else str(page.missed)
                values: dict[str, Value] = {"cpu": records.cpu, "lost": lost}
                ts = int(recording.axis.ts_ns[row])
                yield Slice(f"CPU {records.cpu}: {lost} lost before this", ts, None, values)


def _clocks(recording: Recording, report: Report) -> Iterator[Slice]:
    for boot in report.boots:
        if boot.events and boot.index in recording.axis.clocks:
            part = recording.rows.within(boot.index)
            start = int(recording.axis.ts_ns[part.start]) if part.stop > part.start else 0
            end = _last_ns(recording, boot.index)
            error = "unknown" if boot.clock_error_ns is None else f"{boot.clock_error_ns:,} ns"
            values: dict[str, Value] = {
                "method": boot.clock_method, "error_ns": boot.clock_error_ns, "boot": boot.index,
                "common_clock": report.common_clock, "kernel": boot.release,
            }  # fmt: skip
            yield Slice(f"boot {boot.index}: {boot.clock}, error {error}", start, end, values)


# -- packets -----------------------------------------------------------------------------------


def _lanes(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Slices that do not overlap on one lane; as few lanes as it takes."""
    lanes: list[list[Slice]] = []
    free: list[tuple[int, int]] = []  # (when a lane is free, which)
    for one in sorted(slices, key=lambda s: (s.start, -(s.end or s.start))):
        end = one.start if one.end is None else max(one.start, one.end)
        if free and free[0][0] <= one.start:
            lane = heapq.heappop(free)[1]
        else:
            lane = len(lanes)
            lanes.append([])
        lanes[lane].append(one)
        heapq.heappush(free, (end, lane))
    return lanes


def _descriptor(uuid: int, parent: int, name: str, about: str, rank: int) -> bytes:
    parts = [number(1, uuid), text(2, name), number(12, rank)]
    if about:
        parts.append(text(14, about))
    parts.append(number(5, parent) if parent else number(11, _EXPLICIT))
    return packet(number(10, _SEQUENCE), message(60, *parts))


def write_tracks(tracks: Sequence[Track], stamp: Callable[[int], int]) -> Iterator[bytes]:
    """The packets of all tracks; ``stamp`` turns a time of the axis into the trace's."""
    yield packet(number(10, _SEQUENCE), number(13, _CLEARED))
    root = _FIRST_UUID
    yield _descriptor(root, 0, "tracekit", "what tracekit says of this recording", 0)
    uuid = root
    for rank, track in enumerate(tracks):
        for lane in _lanes(track.slices):
            uuid += 1
            yield _descriptor(uuid, root, track.name, track.about, rank)
            for one in lane:
                yield from _events(one, uuid, stamp)


def _events(one: Slice, uuid: int, stamp: Callable[[int], int]) -> Iterator[bytes]:
    kind = _INSTANT if one.end is None else _BEGIN
    event = message(
        11, number(9, kind), number(11, uuid), text(23, one.name), text(22, "tracekit"),
        debug_values(one.values),
    )  # fmt: skip
    yield packet(number(8, stamp(one.start)), number(10, _SEQUENCE), event)
    if one.end is not None:
        end = message(11, number(9, _END), number(11, uuid))
        yield packet(number(8, stamp(max(one.start, one.end))), number(10, _SEQUENCE), end)
