"""A chain of many boots, made of a session of two: its kernels in turn, each later than the last.

    python benchmarks/chain.py SESSION TARGET BOOTS

All stamps of a boot (the sub-buffers', the clock samples') are put off by the same number of
cycles, and every boot has an id of its own. What is recorded is the same again and again; formats,
names and symbols are what the two kernels had.
"""

from __future__ import annotations

import json
import struct
import sys
import uuid
from pathlib import Path

from tracekit.session import Session, SessionWriter
from tracekit.session.files import dump_json
from tracekit.timeline.boot import Boot
from tracekit.timeline.read_buffers import read_buffers

__all__ = ["chain"]

_APART = 200_000_000_000  # cycles from one pair of boots to the next: more than one recorded
_SEED = uuid.UUID("7ace0000-0000-4000-8000-000000000000")


def _later(data: bytes, pages: list[int], cycles: int) -> bytes:
    """Sub-buffers whose stamps are put off; those that were never used have none."""
    changed = bytearray(data)
    for page in pages:
        (stamp,) = struct.unpack_from("<Q", changed, page)
        if stamp:
            struct.pack_into("<Q", changed, page, stamp + cycles)
    return bytes(changed)


def _pages(session: Session, boot: int) -> dict[str, list[int]]:
    """File of recorded events -> where its sub-buffers begin."""
    found: dict[str, list[int]] = {}
    for buffer in read_buffers(Boot(session, boot)):
        cpus = buffer.layout.cpus if buffer.layout is not None else ()
        for e in buffer.extents:
            begins = [e.offset + n * e.size for n in range(e.count)]
            if cpus:
                begins = [page for c in cpus if c.cpu == e.cpu for page in c.pages]
            found.setdefault(e.source, []).extend(begins)
    return found


def _clocks(data: bytes, cycles: int) -> bytes:
    document = json.loads(data)
    for entry in (*document.get("samples", ()), *document.get("markers", ())):
        for key in ("tsc_before", "tsc_after"):
            entry[key] += cycles
    return dump_json(document)


def _identity(session: Session, boot: int, number: int) -> str:
    return str(uuid.uuid5(_SEED, f"{session.kernel(boot)['boot_id']} {number}"))


def chain(source: Path, target: Path, boots: int) -> Path:
    """Make session ``target`` of so many boots, an even number."""
    session = Session.open(source)
    pages = {boot: _pages(session, boot) for boot in (0, 1)}
    with SessionWriter.open(target) as writer:
        for number in range(boots):
            old, pair = number % 2, number // 2
            base, new = f"boots/{old}/", f"boots/{number}/"
            events = f"{base}tracefs/events/"
            formats = {n.removeprefix(events): session.read(n) for n in session.list(events)}
            writer.write_formats(number, formats)
            for name in session.list(base):
                if name.startswith((events, f"{base}formats.json")):
                    continue
                data = session.read(name)
                if name in pages[old]:
                    data = _later(data, pages[old][name], pair * _APART)
                elif name.endswith("/clocks.json"):
                    data = _clocks(data, pair * _APART)
                elif name.endswith("/kernel.json"):
                    kernel = {**json.loads(data), "boot_id": _identity(session, old, pair)}
                    data = dump_json(kernel)
                elif name.endswith(".json") and "/regions/" in name:
                    about = json.loads(data)
                    reader = session.kernel(1)["boot_id"]
                    if about.get("read_in") == reader:
                        about["read_in"] = _identity(session, 1, pair)
                    data = dump_json(about)
                large = name.endswith((".raw", "_raw", "/kallsyms"))
                writer.write(new + name.removeprefix(base), data, compressed=large)
            writer.add_boot(number)
        writer.finish("recovered")
    return target


if __name__ == "__main__":
    chain(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
