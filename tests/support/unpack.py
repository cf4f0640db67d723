"""Unpacking of the reference captures (our own archives), for tests, demo and benchmark."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import zstandard


def unpack(archive: Path, where: Path) -> None:
    """Unpack a ``.tar.zst`` below ``where``. Python before 3.11.4 has no extraction filters."""
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with (
        archive.open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as raw,
        tarfile.open(fileobj=io.BufferedReader(raw), mode="r|") as tar,
    ):
        tar.extractall(where, **safely)
