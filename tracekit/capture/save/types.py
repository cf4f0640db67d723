"""``boots/N/btf``: the kernel's own types, where arguments of functions are recorded.

What is recorded are registers; a function's parameters are in BTF alone. It has some megabytes,
so it is saved where one of the options is on, and once.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracekit.btf import VMLINUX
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter
from tracekit.sysroot import Sysroot

__all__ = ["save_types"]

_OPTIONS = frozenset((b"func-args", b"funcgraph-args"))  # since Linux 6.15


def save_types(
    root: Sysroot, writer: SessionWriter, boot: int, remarks: Remarks, options: Iterable[bytes]
) -> None:
    """``options``: what is in the files ``trace_options``."""
    rel = f"boots/{boot}/btf"
    if all(_OPTIONS.isdisjoint(text.split()) for text in options) or writer.has(rel):
        return
    data = remarks.get(root, VMLINUX)
    if data is not None:
        writer.write(rel, data)
