"""Empty pages are left out, and are there again; of damaged files nothing is made up."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import SessionError
from tracekit.session import Session, SessionWriter
from tracekit.session.packing.compression import (
    compressor,
    decompress,
    decompress_chunks,
    decompressed,
    stated_sizes,
)

SUFFIXES = [".sparse.zst", ".sparse.gz"]
#: Stretches of zeros and of others, around the blocks that are left out.
PARTS = st.lists(
    st.tuples(
        st.integers(0, 300_000) | st.sampled_from([4095, 4096, 65536]), st.binary(max_size=9)
    ),
    max_size=6,
).map(lambda parts: b"".join(bytes(n) + data for n, data in parts))


def stored(data: bytes, suffix: str, step: int = 1 << 20) -> bytes:
    out = io.BytesIO()
    sink = compressor(out, suffix, len(data))
    for start in range(0, len(data), step):
        sink.write(data[start : start + step])
    sink.close()
    return out.getvalue()


@given(data=PARTS, suffix=st.sampled_from(SUFFIXES), step=st.integers(1000, 200_000))
def test_what_comes_out_is_what_went_in(data: bytes, suffix: str, step: int) -> None:
    packed = stored(data, suffix, step)
    assert decompress(packed, suffix, "it", len(data)) == data
    assert b"".join(decompress_chunks(io.BytesIO(packed), suffix, "it")) == data
    assert b"".join(decompressed(io.BytesIO(packed), suffix, "it", len(data))) == data
    assert stated_sizes(io.BytesIO(packed), suffix) == (bool(data), len(data) or len(packed))


@given(PARTS.filter(bool), st.data())
def test_damage_is_said_and_no_bytes_are_made_up(data: bytes, draw: st.DataObject) -> None:
    """Cut off, or a byte changed: what is unpacked is what it was, or refused."""
    inner = bytearray(stored(data, ".sparse.gz"))
    raw = bytearray(decompress(bytes(inner), ".gz", "it", 1 << 30))
    at = draw.draw(st.integers(0, len(raw) - 1))
    if draw.draw(st.booleans()):
        del raw[at:]
    else:
        raw[at] ^= draw.draw(st.integers(1, 255))
    packed = stored(bytes(raw), ".gz")
    try:
        found = decompress(packed, ".sparse.gz", "it", len(data))
    except SessionError as error:
        assert str(error).startswith("it: d")
    else:
        assert len(found) <= len(data)
        assert sum(a != b for a, b in zip(found, data, strict=False)) <= 1 << 16


def test_a_size_without_limit_takes_nothing() -> None:
    huge = io.BytesIO()
    compressor(huge, ".sparse.zst", 1 << 62).close()
    with pytest.raises(SessionError, match="exhaust memory"):
        decompress(huge.getvalue(), ".sparse.zst", "it", 1 << 32)
    with pytest.raises(SessionError, match="exhaust memory"):
        next(decompressed(io.BytesIO(huge.getvalue()), ".sparse.zst", "it", 1 << 32))


def test_a_large_region_of_a_session(tmp_path: Path) -> None:
    """Its name has no suffix, its digest is that of all bytes, and old tracekits refuse it."""
    data = bytes(20 << 20) + os.urandom(5000) + bytes(3 << 20)
    name = "boots/0/regions/large.raw"
    with SessionWriter.open(tmp_path / "S") as writer:
        with writer.stream(name, len(data)) as sink:
            sink.write(data)
        assert writer.content_sha256(name) == hashlib.sha256(data).hexdigest()
        assert writer.read(name) == data
        writer.move(name, "boots/0/regions/moved.raw")
        writer.finish("recovered")
    session = Session.open(tmp_path / "S")
    assert session.read("boots/0/regions/moved.raw") == data
    assert (tmp_path / "S/boots/0/regions/moved.raw.sparse.zst").stat().st_size < 8192
    assert json.loads((tmp_path / "S/manifest.json").read_text())["format_version"] == 3
    assert session.diagnostics == []
