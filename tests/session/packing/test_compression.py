"""Compressed files: the same again, bounded, and an error where they are damaged."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import SessionError
from tracekit.session import Session, SessionWriter
from tracekit.session.packing import compression
from tracekit.session.packing.compression import compress, decompress


def test_gzip_is_bounded_too() -> None:
    packed = gzip.compress(bytes(1 << 20))
    assert decompress(packed, ".gz", "x", 1 << 20) == bytes(1 << 20)
    with pytest.raises(SessionError, match="exhaust memory"):
        decompress(packed, ".gz", "x", (1 << 20) - 1)
    with pytest.raises(SessionError, match="exhaust memory"):
        decompress(bytes(11), "", "x", 10)


@given(st.binary(max_size=300), st.sampled_from([".zst", ".gz", ""]))
def test_compression_round_trip(data: bytes, suffix: str) -> None:
    packed = compress(data, suffix) if suffix else data
    assert decompress(packed, suffix, "x", 300) == data


@given(
    st.binary(min_size=30, max_size=300),
    st.sampled_from([".zst", ".gz"]),
    st.integers(0, 400),
    st.integers(1, 255),
)
def test_damage_is_an_error_or_the_same(data: bytes, suffix: str, at: int, flip: int) -> None:
    packed = bytearray(compress(data, suffix))
    packed[at % len(packed)] ^= flip
    try:
        decompress(bytes(packed), suffix, "x", 1 << 20)
    except SessionError as error:
        assert "x: " in str(error)


def test_frames_one_after_the_other() -> None:
    """As pzstd writes them: no frame says the size of the whole."""
    one, two = compress(b"one" * 99, ".zst"), compress(b"two" * 99, ".zst")
    assert decompress(one + two, ".zst", "x", 1000) == b"one" * 99 + b"two" * 99
    with pytest.raises(SessionError, match="exhaust"):
        decompress(one + two, ".zst", "x", 500)


def test_without_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert compression.preferred_suffix() == ".gz"
    with SessionWriter.open(tmp_path / "G") as writer:
        writer.write("boots/0/regions/tkA.raw", b"raw" * 99, compressed=True)
        writer.finish("recovered")
    assert (tmp_path / "G/boots/0/regions/tkA.raw.gz").exists()
    assert Session.open(tmp_path / "G").read("boots/0/regions/tkA.raw") == b"raw" * 99
    with pytest.raises(SessionError, match="install the package 'zstandard'"):
        Session.open(path).read("boots/0/kallsyms")
