"""Packs a session into tracekit/demo/handover.tar.zst, the one that ships.

`tracekit lab run --kernel-old 7.2 --kernel-new 7.3 -o SESSION` makes it, then
`python tests/make_demo.py SESSION`; the same session gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path

import zstandard

HERE = Path(__file__).parent
TARGET = HERE.parent / "tracekit" / "demo" / "handover.tar.zst"


def pack(session: Path, target: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(session.rglob("*")):
            if path.is_file() and path.suffix != ".lock":
                member = tarfile.TarInfo(str(path.relative_to(session)))
                member.size, member.mode = path.stat().st_size, 0o600
                with path.open("rb") as content:
                    tar.addfile(member, content)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(zstandard.ZstdCompressor(level=19).compress(packed.getvalue()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("session", type=Path, metavar="SESSION")
    session = parser.parse_args().session
    if not (session / "manifest.json").is_file():
        parser.error(f"{session}: not a session: there is no manifest.json")
    pack(session, TARGET)
