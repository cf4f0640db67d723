"""A session's own files, read by way of a session that is held in memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from tracekit.browse.index.codec import decode, encode
from tracekit.browse.index.load import About
from tracekit.carriers.luo.systemd_store import stored
from tracekit.clocks.evidence import BootClocks
from tracekit.clocks.fit import read_samples
from tracekit.errors import SessionError
from tracekit.probes.records import RECORD
from tracekit.report.systemd import read_systemd
from tracekit.session import Session
from tracekit.session.canary import read_document
from tracekit.session.limits import Oversized
from tracekit.session.manifest import Manifest, parse_manifest
from tracekit.session.names import check_relative, safe_name, strip_suffix
from tracekit.session.notes import Notes
from tracekit.session.packed import frame, unframe
from tracekit.timeline.boot import Boot
from tracekit.timeline.bpf_records import with_probes
from tracekit.timeline.read_buffers import read_buffers
from tracekit.timeline.rows import Kinds, Rows


class _Memory:
    """A store of a few files."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.names = files

    def load(self, name: str, limit: int) -> bytes:
        data = self.names[name]
        if len(data) > limit:
            raise Oversized(name)
        return data

    def on_disk(self) -> int:
        return sum(map(len, self.names.values()))


def _session(**files: bytes) -> Session:
    named = {name.replace("__", "/").replace("_dot_", "."): data for name, data in files.items()}
    return Session(Path("/fuzz"), _Memory(named), Manifest("fuzz", "recovered", [0, 1]))


def packed(data: bytes) -> None:
    """A session in memory: what comes out is what the header's checksum is of.

    Raises :class:`~tracekit.errors.SessionError`.
    """
    archive, suffix = unframe(lambda offset, size: data[offset : offset + size], len(data), "fuzz")
    assert frame(archive, suffix)[:68] == data[:68]


def canary(data: bytes) -> None:
    """``canary.json``: written again, it is the same.

    Raises :class:`~tracekit.errors.ParseError`.
    """
    found = read_document(data, "fuzz")
    assert read_document(found.encode(), "fuzz") == found


def systemd_store(data: bytes) -> None:
    """systemd's list of what it preserved. Raises :class:`~tracekit.errors.SourceError`."""
    assert all(entry.token is None or 0 < entry.token < 1 << 64 for entry in stored(data))


def manifest(data: bytes) -> None:
    """``manifest.json``: written again, it is the same.

    Raises :class:`~tracekit.errors.SessionError`.
    """
    found = parse_manifest(data, "fuzz")
    assert parse_manifest(found.encode(), "fuzz") == found


def index(data: bytes) -> None:
    """``index/about.json``: what fits is encoded to the same document. Raises ValueError."""
    document = json.loads(data)
    about = decode(About, document)
    assert decode(About, json.loads(json.dumps(encode(about)))) == about


def clock_samples(data: bytes) -> None:
    """``clocks.json``, and after a NUL the kernel's log. Raises ValueError where it is no JSON."""
    text, _, log = data.partition(b"\0")
    document = json.loads(text)
    samples = document if isinstance(document, list) else [document]
    brackets, _ = read_samples(samples)
    for clock in brackets.values():
        assert all(a.ns <= b.ns for a, b in itertools.pairwise(clock))
    evidence = BootClocks(0, samples, log.decode("utf-8", "replace")).evidence
    assert evidence.where == "boot 0"


def notes(data: bytes) -> None:
    """``notes.json``."""
    found = Notes.load(_session(notes_dot_json=data))
    assert not (found.unread and (found.bookmarks or found.filters))


def systemd(data: bytes) -> None:
    """``systemd.json``."""
    for _, begin, end in read_systemd(Boot(_session(boots__0__systemd_dot_json=data), 0)).units:
        assert 0 < begin <= end < 1 << 63


def bpf_file(data: bytes) -> None:
    """``bpf.bin``: every record becomes a row, or is remarked."""
    boot = Boot(_session(boots__0__bpf_dot_bin=data), 0)
    probed = with_probes(boot, [], Rows.none(), Kinds(), 0)
    assert len(probed.more) <= len(data) // RECORD.size
    assert sum(only for only, _ in probed.records.counts.values()) == len(probed.more)
    for buffer in probed.buffers:
        assert len(buffer.data) <= len(data)
    if len(data) % RECORD.size:
        assert boot.diagnostics


def boot(data: bytes) -> None:
    """The small files of a boot, each ended by a NUL: nothing raises."""
    parts = [*data.split(b"\0"), *[b""] * 6]
    found = Boot(
        _session(
            boots__0__kernel_dot_json=parts[0],
            boots__0__tracefs__events__header_page=parts[1],
            boots__0__tracefs__events__sched__sched_switch__format=parts[2],
            boots__0__tracefs__saved_cmdlines=parts[3],
            boots__0__kallsyms=parts[4],
        ),
        0,
    )
    assert found.cpus >= 0 and found.release
    assert found.header_page.data <= 64
    assert found.record_header.sound
    for event_id in list(found.event_ids()):
        assert found.event_name(event_id)
        assert isinstance(found.renderer(event_id).render(bytes(64)), str)
    found.context.symbols.lookup(1 << 63)
    read_buffers(found)


def file_names(data: bytes) -> None:
    """Names in a session: none leads out of it."""
    text = data.decode("utf-8", "surrogateescape")
    made = safe_name(text)
    assert made and "/" not in made and made not in (".", "..") and "\0" not in made
    strip_suffix(text)
    try:
        parts = check_relative(text)
    except SessionError:
        return
    assert parts and not {"", ".", ".."} & set(parts)
