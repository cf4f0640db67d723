"""Sessions for the tests of the session directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sessions.small import KERNEL
from tracekit.errors import Diagnostic
from tracekit.session import SessionWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A finished session of one boot."""
    target = tmp_path / "S"
    with SessionWriter.open(target) as writer:
        with writer.tree("boots/0/tracefs") as tree:
            tree.write("events/a/b/format", b"name: b")
            tree.write("saved_cmdlines", b"1 init\n", compressed=True)
        writer.write("boots/0/kallsyms", b"0 T _text\n" * 99, compressed=True)
        with writer.stream("boots/0/regions/tkA.raw", 1 << 20) as sink:
            for _ in range(16):
                sink.write(b"page" * (1 << 14))
        writer.write("boots/0/kernel.json", KERNEL)
        writer.add_boot(0)
        writer.set_diagnostics(0, [Diagnostic("code", "info", "boot 0", "said")])
        writer.finish("snapshot")
    return target
