"""Where an event was: against the files of the session, and against the typed columns."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

import tracekit
from tests.support.bpf_records import BootFiles, packed, printed, record, region, write_session
from tests.support.ring.event_payloads import data_loc_string, function, rel_loc_string
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer, layout_615
from tests.support.session_trees import ADDRESS, make_session
from tests.support.sessions.loose import loosen
from tracekit.browse.record_bytes import RecordLocation, locate_record
from tracekit.probes.records import RECORD
from tracekit.recording import Recording
from tracekit.session import Session
from tracekit.timeline.bpf_records import PRINTED
from tracekit.timeline.saved.bpf_format import is_probe

CAPTURES = (
    "handover-7.2-to-7.3-tsc",
    "handover-7.2-tsc",
    "same-boot-7.2",
    pytest.param("same-boot-wide-7.2", marks=pytest.mark.slow),
)
_PER_KIND = 3


@pytest.fixture(scope="module", params=["shipped", *CAPTURES])
def recording(
    request: pytest.FixtureRequest, session: Callable[[str], Path]
) -> Iterator[Recording]:
    if request.param != "shipped":
        yield tracekit.open(session(request.param))
        return
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        yield tracekit.open(path)


def some_rows(recording: Recording) -> list[int]:
    """A few of every kind of event, from every buffer."""
    rows = recording.rows
    pairs = rows.kind.astype(np.int64) * len(recording.buffers) + rows.buffer
    found: list[int] = []
    for pair in np.unique(pairs).tolist():
        at = np.flatnonzero(pairs == pair)
        found += at[np.linspace(0, len(at) - 1, min(_PER_KIND, len(at))).astype(int)].tolist()
    return found


def read(session: Session, found: RecordLocation) -> bytes:
    """The bytes that are said to be the record's, from the session's file."""
    assert found.place is not None
    data = session.read(found.place.source)
    start = found.place.offset - len(found.header)
    return data[start : found.place.offset + len(found.payload)]


def test_the_bytes_are_in_the_file_where_it_is_said(recording: Recording) -> None:
    for row in some_rows(recording):
        found = locate_record(recording, row)
        place = found.place
        assert place is not None, found
        assert read(recording.session, found) == found.header + found.payload
        assert len(found.payload) > 8
        assert place.byte + len(found.payload) <= place.size or place.cpu < 0
        if place.cpu >= 0:
            assert place.cpu == recording.rows.cpu[row]
            assert len(found.header) in (4, 8)
            head = int.from_bytes(found.header[:4], "little")
            assert (head & 31) * 4 in (len(found.payload), 0)
            assert int.from_bytes(found.payload[:2], "little") == (
                found.event_id if not found.carrier else _id_of(recording, found)
            )


def _id_of(recording: Recording, found: RecordLocation) -> int:
    boot = next(b for b in recording.boots if b.index == found.boot)
    return next(i for i in boot.event_ids() if boot.event_name(i) == PRINTED)


def test_the_fields_are_those_of_the_typed_columns(recording: Recording) -> None:
    rows = some_rows(recording)
    typed = recording.fields(np.array(rows, np.int64))
    for row, expected in zip(rows, typed, strict=True):
        found = locate_record(recording, row)
        assert {f.name: f.value for f in found.fields if not f.common} == expected
        common = {f.name: f.value for f in found.fields if f.common}
        assert common["common_pid"] == recording.rows.pid[row]
        if not is_probe(recording.kinds[int(recording.rows.kind[row])].id):
            assert common["common_flags"] == recording.rows.flags[row]
            assert common["common_preempt_count"] == recording.rows.preempt[row]


def test_integers_are_the_bytes_they_are_said_to_lie_in(recording: Recording) -> None:
    seen = 0
    for row in some_rows(recording):
        found = locate_record(recording, row)
        fields = found.carrier_fields or found.fields
        for f in fields:
            if isinstance(f.value, bool) or not isinstance(f.value, int) or f.offset is None:
                continue
            raw = found.payload[f.offset : f.offset + f.size]
            assert f.value in (
                int.from_bytes(raw, "little"),
                int.from_bytes(raw, "little", signed=True),
            )
            seen += 1
    assert seen


def test_texts_lie_where_the_location_points(recording: Recording) -> None:
    for row in some_rows(recording):
        found = locate_record(recording, row)
        for f in found.carrier_fields or found.fields:
            if f.data is not None and isinstance(f.value, str):
                start, size = f.data
                text = found.payload[start : start + size].split(b"\0")[0]
                assert text.decode("utf-8", "backslashreplace") == f.value


def test_the_physical_address_is_the_regions_and_the_offset(recording: Recording) -> None:
    for row in some_rows(recording):
        place = locate_record(recording, row).place
        assert place is not None
        if "/regions/" in place.source:
            about = recording.session.json(place.source.replace(".raw", ".json"))
            assert place.address == about["address"] + place.offset
        else:
            assert place.address is None


def test_the_stamp_is_that_of_the_row(recording: Recording) -> None:
    report = recording.report()
    for row in some_rows(recording):
        found = locate_record(recording, row)
        assert found.stamp.raw == recording.rows.ts_raw[row]
        boot = next(b for b in report.boots if b.index == found.boot)
        if recording.axis.timed(found.boot):
            assert found.stamp.ns == recording.axis.ts_ns[row]
        if int(recording.rows.buffer[row]) not in recording.axis.relations:
            assert (found.stamp.clock, found.stamp.method) == (boot.clock, boot.clock_method)
            assert found.stamp.error_ns in (boot.clock_error_ns, None)


def test_symbols_are_shown_beside_numbers(recording: Recording) -> None:
    rows = [r for r in some_rows(recording) if _name(recording, r) == "sched:sched_switch"]
    for row in rows:
        text = {f.name: f.text for f in locate_record(recording, row).fields}
        args = recording.render(recording.rows.take(slice(row, row + 1))).to_pylist()[0]
        assert f"prev_state={text['prev_state']}" in args
        assert text["prev_pid"] == text["prev_comm"] == ""


def _name(recording: Recording, row: int) -> str:
    return recording.kinds[int(recording.rows.kind[row])].name


# -- damage, and records made by hand ---------------------------------------------------------


def test_every_record_of_a_small_region(tmp_path: Path) -> None:
    ring = RingBuffer(10)
    wanted = [data_loc_string(n, bytes([97 + n % 26]) * (1 + n * 7 % 300)) for n in range(60)]
    for n, payload in enumerate(wanted):
        ring.write(1_000_000 + n * 1000, payload)
    recording = tracekit.open(make_session(tmp_path, layout_615([ring, RingBuffer(10)])))
    assert len(recording) == len(wanted)
    for row, payload in enumerate(wanted):
        found = locate_record(recording, row)
        assert found.payload[: len(payload)] == payload
        assert len(found.payload) - len(payload) < 4
        assert len(found.header) == (4 if len(found.payload) <= 112 else 8)
        assert found.place is not None
        assert found.place.address == ADDRESS + found.place.offset
        assert read(recording.session, found).endswith(found.payload)


def test_an_event_that_no_format_describes_is_only_bytes(tmp_path: Path) -> None:
    ring = RingBuffer(10)
    ring.write(1_000_000, data_loc_string(1, b"text"))
    session = make_session(tmp_path, layout_615([ring]))
    shutil.rmtree(loosen(session) / "boots/0/tracefs/events/test/data_loc")
    found = locate_record(tracekit.open(session), 0)
    assert (found.event, found.fields) == ("unknown:301", ())
    assert found.payload.startswith(data_loc_string(1, b"text"))


@pytest.mark.parametrize("keep", [9, 12, 15])
def test_a_record_too_short_for_its_format(tmp_path: Path, keep: int) -> None:
    ring = RingBuffer(10)
    ring.write(1_000_000, rel_loc_string(1, b"some text")[:keep])
    found = locate_record(tracekit.open(make_session(tmp_path, layout_615([ring]))), 0)
    assert found.payload[:keep] == rel_loc_string(1, b"some text")[:keep]
    text = next(f for f in found.fields if f.name == "text")
    assert (text.value, text.data) == (None, None)


def test_an_address_that_was_not_saved_is_unknown(tmp_path: Path) -> None:
    ring = RingBuffer(10)
    ring.write(1_000_000, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
    session = make_session(tmp_path, layout_615([ring]))
    (session / "boots/0/regions/tkA.json").write_text('{"address": "here"}')
    place = locate_record(tracekit.open(session), 0).place
    assert place is not None and place.address is None


@pytest.mark.parametrize("keep", [0x4000, 0x10000])
def test_a_region_cut_short(tmp_path: Path, keep: int) -> None:
    rings = [RingBuffer(20), RingBuffer(20)]
    for n in range(500):
        rings[n % 2].write(1_000_000 + n, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
    recording = tracekit.open(make_session(tmp_path, layout_615(rings).data[:keep]))
    for row in range(len(recording)):
        found = locate_record(recording, row)
        assert read(recording.session, found) == found.header + found.payload


def test_printed_records_are_where_they_were_printed(tmp_path: Path) -> None:
    ahead = 5_000_000_000
    records = [
        record("kexec:kernel_restart_prepare", n, ahead + n * 20_000, comm="kexec")
        for n in range(300)
    ]
    events = [(r.ns - ahead + 3_000_000, printed(r)) for r in records]
    alone = record("kexec:machine_kexec", 300, ahead + 300 * 20_000, values=[7], comm="kexec")
    bpf = b"".join(packed(r) for r in (records[3], alone))
    boot = BootFiles(region(events), files={"bpf.bin": bpf})
    recording = tracekit.open(write_session(tmp_path, [boot]))
    probes = [r for r in range(len(recording)) if _name(recording, r).startswith("kexec:")]
    assert len(probes) == 301
    for row in probes:
        found = locate_record(recording, row)
        place = found.place
        assert place is not None
        assert read(recording.session, found) == found.header + found.payload
        if _name(recording, row) == "kexec:machine_kexec":
            assert (place.source, place.subbuffer, place.cpu) == ("boots/0/bpf.bin", 1, -1)
            assert (found.payload, found.carrier) == (packed(alone), "")
            assert place.offset == RECORD.size
        else:
            fields = {f.name: f.value for f in found.fields}
            text = {f.name: f.value for f in found.carrier_fields}["bpf_string"]
            assert found.carrier == PRINTED
            assert text.split()[2:4] == [f"{fields['seq']:x}", f"{fields['ns']:x}"]
            assert all(f.offset is None for f in found.fields)
