"""Turns the BPF probes' records into rows of the timeline.

A record may be in the session twice: in ``boots/N/bpf.bin``, and printed into a ring buffer as the
text of a ``bpf_trace:bpf_trace_printk`` event. Two records are the same if CPU, sequence number and
CLOCK_MONOTONIC agree. The printed one is kept, because the ring buffer stamped it on the clock of
all other events. Records that only the file has are stamped by CLOCK_MONOTONIC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.clocks.fit import Bracket
from tracekit.clocks.model import UNKNOWN
from tracekit.errors import SessionError
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import Payloads, typed_column
from tracekit.probes.records import KINDS, READ_OUT, RECORD, RETURN, Record, parse_compact
from tracekit.timeline.boot import Boot, Buffer, Extent
from tracekit.timeline.rows import Kinds, Rows, different, one_of
from tracekit.timeline.saved.bpf_format import LAYOUT, PROBE_FILE, PROBE_ID, ProbeRecords

__all__ = ["MONOTONIC", "PRINTED", "Probed", "carrier_of", "with_probes"]

_Array = npt.NDArray[Any]
MONOTONIC = "mono"  #: the trace clock that is CLOCK_MONOTONIC, which the records' ``ns`` is
PRINTED = "bpf_trace:bpf_trace_printk"  #: the event that carries records into a ring buffer
_PROBES = " probes"  # ends the name of the buffer that holds what another one carried
_CPU_LIMIT = 1 << 13  # CONFIG_NR_CPUS is at most 8192
_NS_LIMIT = 1 << 60  # 36 years after the boot
_NESTED = 64  # more probes than can interrupt one another on a CPU
_BINS = 64  # brackets kept of a buffer, evenly over its time


@dataclass(frozen=True)
class _Printed:
    """Rows of one ring buffer that carry a record, and the records."""

    rows: _Array
    records: _Array
    source: Buffer


@dataclass(frozen=True)
class _File:
    """What ``bpf.bin`` holds: its bytes, the usable records, and each one's number in the file."""

    data: bytes
    records: _Array
    numbers: _Array


@dataclass(frozen=True)
class Probed:
    """What the probes' records make: rows of those that only ``bpf.bin`` has, sorted by stamp.

    ``buffers`` are additional ones, which hold the records, ``records`` their counts and brackets.
    """

    more: Rows
    buffers: tuple[Buffer, ...]
    records: ProbeRecords


def _file(boot: Boot) -> _File:
    """The usable records of ``bpf.bin``, with diagnostics about the others."""
    path = f"boots/{boot.index}/{PROBE_FILE}"
    try:
        data = boot.session.read(path) if boot.session.has(path) else b""
    except SessionError as error:
        boot.note("bpf-unreadable", PROBE_FILE, str(error))
        data = b""
    boot.session.budget.filled(path, len(data))
    count, rest = divmod(len(data), RECORD.size)
    if rest:
        boot.note("bpf-truncated", PROBE_FILE, f"its last {rest} bytes are no whole record")
    records = np.frombuffer(data, LAYOUT, count)
    known = one_of(records["kind"], [kind | end for kind in KINDS for end in (0, RETURN)])
    sound = (records["zero"] == 0) & (records["cpu"] < _CPU_LIMIT) & (records["pid"] >= 0)
    sound &= records["ns"] < _NS_LIMIT
    for good, code, problem in (
        (sound, "bpf-record-damaged", "have an impossible CPU, task, time or padding"),
        (known | ~sound, "bpf-kind-unknown", "are of a kind this tracekit does not know"),
    ):
        if bad := np.flatnonzero(~good).tolist():
            first = f"the first at byte {bad[0] * RECORD.size}"
            boot.note(code, PROBE_FILE, f"{len(bad)} records {problem}, {first}; they are left out")
    return _File(data, records[known & sound], np.flatnonzero(known & sound))


def _packed(record: Record, cpu: int, pid: int) -> bytes:
    kind = record.kind | (RETURN if record.returned else 0)
    return RECORD.pack(
        record.ns, record.duration_ns, *record.values, record.seq, pid & 0xFFFFFFFF, cpu, kind, 0,
        record.comm.encode(), record.name.encode(), record.driver.encode(),
    )  # fmt: skip


def _printed(
    boot: Boot, buffers: Sequence[Buffer], rows: Rows, kinds: Kinds, first: int
) -> Iterator[_Printed]:
    """The records that were printed, by ring buffer, each record once."""
    code = kinds.find(boot, PRINTED)
    fmt = boot.format(kinds.found[code].id) if code is not None else None
    text_field = fmt.field("bpf_string") if fmt else None
    if text_field is None or not text_field.is_string:
        return
    seen = set[tuple[int, int, int]]()
    of_kind = rows.of_kinds(boot.index, (code,)) if code is not None else np.empty(0, np.int64)
    for number, buffer in enumerate(buffers, first):
        indices = of_kind[rows.buffer[of_kind] == number]
        payloads = Payloads(buffer.data, rows.offset[indices], rows.length[indices])
        texts = typed_column(payloads, text_field).to_pylist() if len(indices) else []
        kept, packed = [], []
        for row, text in zip(indices.tolist(), texts, strict=True):
            record = parse_compact(text) if text else None
            if record is None or record.kind not in KINDS:
                continue
            cpu = int(rows.cpu[row])
            if (key := (cpu, record.seq, record.ns)) not in seen:
                seen.add(key)
                kept.append(row)
                packed.append(_packed(record, cpu, int(rows.pid[row])))
        if kept:
            records = np.frombuffer(b"".join(packed), LAYOUT)
            yield _Printed(np.array(kept), records, buffer)


def _identity(records: _Array) -> _Array:
    return np.stack([records[name].astype(np.uint64) for name in ("cpu", "seq", "ns")])


def _twins(file: _Array, printed: _Array) -> tuple[_Array, _Array]:
    """(for every record of the file the index of its printed twin or -1; a mask of repeats)."""
    both = np.concatenate([_identity(printed), _identity(file)], axis=1)
    order = np.lexsort(both[::-1])  # stable: the printed one comes first
    fresh = np.ones(len(order), bool)
    fresh[1:] = (both[:, order[1:]] != both[:, order[:-1]]).any(axis=0)
    leader = np.empty(len(order), np.int64)
    leader[order] = order[np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))]
    mine = leader[len(printed) :]
    twin = np.where(mine < len(printed), mine, -1)
    return twin, mine != np.arange(len(printed), len(order))


def _missing(records: _Array) -> dict[int, int]:
    """CPU -> how many numbers of its sequence are missing.

    The numbers begin at 0 each time the probes are loaded. A probe takes its number after the time,
    so records that interrupt one another are not quite in order.
    """
    holes = {}
    counted = records[~one_of(records["kind"], READ_OUT)]
    for cpu in different(records["cpu"]):
        mine = counted[counted["cpu"] == cpu]
        missing, run, max_ = 0, set[int](), 0
        for number in mine["seq"][np.argsort(mine["ns"], kind="stable")].tolist():
            if run and (number in run or number + _NESTED < max_):
                missing += max_ + 1 - len(run)
                run = set()
            max_ = max(number, max_) if run else number
            run.add(number)
        holes[cpu] = missing + (max_ + 1 - len(run) if run else 0)
    return holes


def _brackets(rows: Rows, printed: _Printed) -> Iterator[Bracket]:
    """CLOCK_MONOTONIC between two stamps of the ring buffer, the narrowest bracket per time bin.

    A probe reads the clock, then prints. So a record's ``ns`` was read before its own stamp, and,
    if it is later than the ``ns`` of the record stamped before it on the same CPU, after that
    record's stamp: a probe that interrupts another is stamped first.
    """
    brackets = []
    cpus = printed.records["cpu"]
    for cpu in different(cpus):
        of_cpu = np.flatnonzero(cpus == cpu)
        stamps = rows.ts_raw[printed.rows[of_cpu]].tolist()
        times = printed.records["ns"][of_cpu].tolist()
        before = zip(stamps, times, strict=True)
        after = zip(stamps[1:], times[1:], strict=True)
        brackets += [
            Bracket(a, ns, b)
            for (a, then), (b, ns) in zip(before, after, strict=False)
            if ns > then
        ]
    first = min((b.ns for b in brackets), default=0)
    width = max((b.ns for b in brackets), default=0) - first + 1
    best = dict[int, Bracket]()
    for b in brackets:
        bin_ = (b.ns - first) * _BINS // width
        if bin_ not in best or b.after - b.before < best[bin_].after - best[bin_].before:
            best[bin_] = b
    yield from best.values()


def _alone(boot: Boot, number: int, file: _File, only: _Array, kinds: Kinds) -> Rows:
    """Rows of the records that only the file has, given by the mask ``only``."""
    records = file.records[only]
    n = len(records)
    return Rows(
        ts_raw=records["ns"].astype(np.uint64),
        boot=np.full(n, boot.index, np.uint8),
        cpu=records["cpu"].astype(np.uint16),
        pid=records["pid"].astype(np.int32),
        kind=kinds.of(boot, PROBE_ID | records["kind"].astype(np.int64)),
        flags=np.zeros(n, np.uint8),
        preempt=np.zeros(n, np.uint8),
        buffer=np.full(n, number, np.uint16),
        offset=file.numbers[only].astype(np.uint64) * RECORD.size,
        length=np.full(n, RECORD.size, np.uint32),
    )


def _turn(rows: Rows, printed: Sequence[_Printed], first: int, kinds: Kinds, boot: Boot) -> None:
    """Turn the rows that carry a record into rows of that record.

    ``first`` is the number of the buffer for the first of ``printed``; the others follow.
    """
    for number, p in enumerate(printed, first):
        rows.kind[p.rows] = kinds.of(boot, PROBE_ID | p.records["kind"].astype(np.int64))
        rows.buffer[p.rows] = number
        rows.offset[p.rows] = np.arange(len(p.rows), dtype=np.uint64) * RECORD.size
        rows.length[p.rows] = RECORD.size


def _printed_buffer(p: _Printed) -> Buffer:
    source, data = p.source, p.records.tobytes()
    return Buffer(f"{source.name}{_PROBES}", source.instance, source.clock, data, (), None, ())


def carrier_of(boot: int, buffers: Iterable[Buffer], buffer: Buffer) -> Buffer | None:
    """The ring buffer into which the records of ``buffer`` were printed; None if they were not."""
    if buffer.extents or not buffer.name.endswith(_PROBES):
        return None
    key = buffer.name.removesuffix(_PROBES), buffer.instance
    own = f"boots/{boot}/"
    of_boot = (b for b in buffers if b.extents and b.extents[0].source.startswith(own))
    return next((b for b in of_boot if (b.name, b.instance) == key), None)


def _file_buffer(boot: Boot, file: _File) -> Buffer:
    count = len(file.data) // RECORD.size
    extent = Extent(f"boots/{boot.index}/{PROBE_FILE}", -1, 0, RECORD.size, count, 0)
    return Buffer(PROBE_FILE, "", MONOTONIC, file.data, (), None, (), (extent,))


def _whole(printed: Sequence[_Printed], file: _File) -> tuple[list[_Printed], _Array]:
    """(the printed records, completed from the file; a mask of the records only the file has)."""
    every = np.concatenate([np.empty(0, LAYOUT), *(p.records for p in printed)])
    twin, repeated = _twins(file.records, every)
    every["comm"][twin[twin >= 0]] = file.records["comm"][twin >= 0]
    ends = np.cumsum([len(p.rows) for p in printed])[:-1]
    parts = np.split(every, ends) if printed else []
    return [replace(p, records=r) for p, r in zip(printed, parts, strict=True)], ~repeated


def _counts(printed: Sequence[_Printed], alone: _Array) -> dict[int, tuple[int, int]]:
    """CPU -> (records that only the file has, records that are missing)."""
    missing = _missing(np.concatenate([*(p.records for p in printed), alone]))
    only = np.bincount(alone["cpu"], minlength=max(missing) + 1).tolist()
    return {cpu: (only[cpu], holes) for cpu, holes in missing.items()}


def _pairs(rows: Rows, printed: Sequence[_Printed]) -> dict[str, list[Bracket]]:
    """Trace clock -> brackets of CLOCK_MONOTONIC between its stamps."""
    pairs: dict[str, list[Bracket]] = {}
    for p in printed:
        pairs.setdefault(p.source.clock or UNKNOWN, []).extend(_brackets(rows, p))
    return pairs


def with_probes(
    boot: Boot, buffers: Sequence[Buffer], rows: Rows, kinds: Kinds, first: int
) -> Probed:
    """Make events of a boot's probes' records: in the rows that carry one, and more rows.

    ``first`` is the number of the boot's first buffer.
    """
    file, carried = _file(boot), list(_printed(boot, buffers, rows, kinds, first))
    if not carried and not len(file.records):
        return Probed(Rows.none(), (), ProbeRecords())
    printed, only = _whole(carried, file)
    alone, more = file.records[only], Rows.none()
    number = first + len(buffers)
    made = [_printed_buffer(p) for p in printed]
    probes = ProbeRecords(_counts(printed, alone), _pairs(rows, printed))
    _turn(rows, printed, number, kinds, boot)
    if len(alone):
        more = _alone(boot, number + len(made), file, only, kinds)
        more = more.take(np.argsort(more.ts_raw, kind="stable"))
        made.append(_file_buffer(boot, file))
    return Probed(more, tuple(made), probes)
