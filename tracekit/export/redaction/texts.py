"""Which recorded texts say something of the machine or its users, and what stands for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tracekit.ftrace.columns import Payloads, as_numpy, outside_record, typed_column
from tracekit.ftrace.format import EventFormat, Field
from tracekit.timeline.rows import different

__all__ = ["Names", "overwrite_event"]

_Bytes = npt.NDArray[np.uint8]
#: Systems whose texts name hardware, drivers and the kernel's own parts.
_KEPT = frozenset((
    "device", "initcall", "irq", "kho", "kmem", "module", "pci", "pci_controller", "power", "dma",
    "ring_buffer", "swiotlb", "workqueue",
))  # fmt: skip
_KERNEL_TASK = re.compile(
    r"<idle>|<\.\.\.>|swapper/\d+|kworker/[\w:+-]*|ksoftirqd/\d+|migration/\d+|cpuhp/\d+|kthreadd|"
    r"rcu_(?:sched|preempt|gp|par_gp|exp_gp_kthread_worker|exp_par_gp_kthread_worker/\d+)|"
    r"kswapd\d+|kcompactd\d+|khugepaged|kdevtmpfs|oom_reaper|writeback",
    re.ASCII,
)
_PLAIN = "redacted"
_HEADER = 8  # bytes of a record that no format describes: type, flags, preempt count, pid
# what these print is in no field of its own: vbin_printf() puts strings among the numbers
_FREE = frozenset(("ftrace:bprint", "ftrace:bputs", "ftrace:raw_data"))
_CHUNK = 1 << 16  # records overwritten at a time
_PIECE = 1 << 20  # bytes whose places are held at a time


@dataclass
class Names:
    """Names of tasks, and what stands for each: ``task-1``, ``task-2``, by first appearance."""

    known: dict[str, str] = field(default_factory=dict)

    def of(self, comm: str) -> str:
        """What stands for a task's name; a kernel thread and an unknown name keep theirs."""
        if not comm or _KERNEL_TASK.fullmatch(comm):
            return comm
        return self.known.setdefault(comm, f"task-{len(self.known) + 1}")


def _is_comm(f: Field) -> bool:
    return "comm" in f.name and "command" not in f.name


def _replaced(system: str, f: Field, text: str, names: Names) -> str:
    if _is_comm(f):
        return names.of(text)
    if system in _KEPT and f.name != "instance":
        return text
    return _PLAIN + ("\n" if text.endswith("\n") else "") if text else text


def _places(p: Payloads, f: Field, data: _Bytes) -> tuple[npt.NDArray[np.int64], ...]:
    """(where the field's bytes begin in the data, how many there are), of every record."""
    offsets, lengths = p.offsets.astype(np.int64), p.lengths.astype(np.int64)
    if f.loc:
        at = offsets + f.offset
        word = sum(data[at + byte].astype(np.int64) << (8 * byte) for byte in range(4))
        start = (word & 0xFFFF) + (f.offset + 4 if f.loc == "rel_loc" else 0)
        return offsets + start, np.asarray(word >> 16)
    size = np.full(len(p), f.size, np.int64) if f.size else lengths - f.offset
    return offsets + f.offset, size


def _text_field(data: _Bytes, p: Payloads, f: Field, system: str, names: Names) -> None:
    p = p.take(~outside_record(p, f) if f.size or f.loc else p.lengths > f.offset)
    if not len(p):
        return
    coded = typed_column(p, f).dictionary_encode()
    codes = as_numpy(coded.indices, null=-1)
    starts, sizes = _places(p, f, data)
    for code, text in enumerate(coded.dictionary.to_pylist()):
        new = _replaced(system, f, text, names)
        if new == text:
            continue
        mine = np.flatnonzero(codes == code)
        for size in different(sizes[mine]):
            if size > 0:
                raw = new.encode()[: size - 1].ljust(size, b"\0")
                at, many = starts[mine[sizes[mine] == size]], max(1, _PIECE // size)
                for piece in np.split(at, range(many, len(at), many)):
                    data[piece[:, None] + np.arange(size)] = np.frombuffer(raw, np.uint8)


def _blank(data: _Bytes, p: Payloads, start: int) -> None:
    """Zeros in every record from ``start`` on."""
    for offset, length in zip(p.offsets.tolist(), p.lengths.tolist(), strict=True):
        data[offset + start : offset + max(start, length)] = 0


def _chunks(p: Payloads) -> Iterator[Payloads]:
    for start in range(0, len(p), _CHUNK):
        yield p.take(np.arange(start, min(start + _CHUNK, len(p))))


def overwrite_event(
    data: _Bytes, payloads: Payloads, fmt: EventFormat | None, names: Names
) -> None:
    """Overwrite the texts in one event's records, which lie in ``data`` as ``payloads`` says.

    Of an event without a format, whose texts cannot be told, nothing stays but the header.
    """
    if fmt is None:
        _blank(data, payloads, _HEADER)
        return
    if fmt.full_name in _FREE:
        free = [f.offset for f in fmt.fields if f.name in ("buf", "str")]
        _blank(data, payloads, min(free, default=_HEADER))
        return
    for f in (*fmt.fields, *fmt.common):
        for part in _chunks(payloads) if f.is_string else ():
            _text_field(data, part, f, fmt.system, names)
