"""``printk_formats``: the strings that records of ``trace_printk()`` and others point to."""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.errors import SourceError
from tracekit.kmemory.kernel import Kernel
from tracekit.kmemory.lists import entries

__all__ = ["printk_formats"]

_MAX_STRINGS = 1 << 16
_MAX_LENGTH = 4096
_ESCAPES = str.maketrans({"\n": "\\n", "\t": "\\t", '"': '\\"'})


def _pointers(kernel: Kernel) -> Iterator[int]:
    """Addresses of strings: the kernel's, then those of modules, then tracepoints' (t_next())."""
    yield from _section(kernel, "__start___trace_bprintk_fmt", "__stop___trace_bprintk_fmt")
    head = kernel.symbols.find("trace_bprintk_fmt_list")
    if head is not None and kernel.place("trace_bprintk_fmt", "list"):
        for entry in entries(kernel, head, "trace_bprintk_fmt", "list", "printk formats"):
            yield entry["fmt"]
    yield from _section(kernel, "__start___tracepoint_str", "__stop___tracepoint_str")


def _section(kernel: Kernel, start: str, stop: str) -> Iterator[int]:
    first, end = kernel.symbols.find(start), kernel.symbols.find(stop)
    if first is None or end is None or not 0 <= end - first <= 8 * _MAX_STRINGS:
        return
    for address in range(first, end, 8):
        yield kernel.memory.u64(address)


def printk_formats(kernel: Kernel) -> str:
    """The text of ``printk_formats`` (kernel/trace/trace_printk.c)."""
    lines = []
    for address in _pointers(kernel):
        if not address:
            continue
        try:
            text = kernel.memory.text(address, _MAX_LENGTH)
        except SourceError as error:
            kernel.notes.missing("printk formats", f"{address:#x}", error)
            continue
        lines.append(f'{address:#x} : "{text.translate(_ESCAPES)}"\n')
        if len(lines) >= _MAX_STRINGS:
            break
    return "".join(lines)
