"""``boots/N/bpf.bin``: the probes' records, appended to a part file while they come in."""

from __future__ import annotations

from tracekit.session import SessionWriter

__all__ = ["bpf_records", "finish_bpf"]


def bpf_records(boot: int) -> str:
    """The name in the session of a boot's records."""
    return f"boots/{boot}/bpf.bin"


def finish_bpf(writer: SessionWriter) -> None:
    """Turn every boot's part file into ``bpf.bin``, after what an earlier recording saved."""
    for boot in writer.manifest.boots:
        rel = bpf_records(boot)
        if not writer.has_part(rel):
            continue
        records, earlier = writer.read_part(rel), writer.read(rel)
        if earlier is None and writer.has(rel):  # damaged: kept, but not appended to
            writer.move(rel, f"boots/{boot}/other-copies/bpf.bin")
        earlier = earlier or b""
        # A run killed between these two lines has saved the records already.
        if records and not earlier.endswith(records):
            writer.write(rel, earlier + records, compressed=True)
        writer.remove_part(rel)
