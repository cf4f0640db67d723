"""printk_formats."""

from __future__ import annotations

from tracekit.kmemory.strings import printk_formats


def test_as_the_kernel_prints_them(dead) -> None:
    assert printk_formats(dead.kernel) == dead.text("printk_formats")
