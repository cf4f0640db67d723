"""Makes tracekit/demo/handover.tar.zst, the session that ships, from a reference capture.

`python tests/make_demo.py [TARGET]`: unpacks tests/captures/handover-7.2-to-7.3-tsc.tar.zst, runs
the real snapshot and recover on it and packs the session, the same bytes every time.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from pathlib import Path

import zstandard

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.unpack import unpack
from tracekit.cli import main

HERE = Path(__file__).parent
CAPTURE = HERE / "captures" / "handover-7.2-to-7.3-tsc.tar.zst"
TARGET = HERE.parent / "tracekit" / "demo" / "handover.tar.zst"


def _pack(session: Path, target: Path) -> None:
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


def make(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        unpack(CAPTURE, Path(scratch))
        trees = Path(scratch) / CAPTURE.name.removesuffix(".tar.zst")
        session = Path(scratch) / "session"
        for command in (
            ["-q", "snapshot", "--sysroot", str(trees / "old"), "-o", str(session)],
            ["-q", "recover", "--sysroot", str(trees / "new"), str(session)],
        ):
            if main(command) != 0:
                sys.exit(f"failed: {command}")
        _pack(session, target)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
