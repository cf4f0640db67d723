"""The kernel log: ``struct printk_ringbuffer`` (kernel/printk/printk_ringbuffer.c)."""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kernel import Kernel, Struct

__all__ = ["LogRecord", "dmesg", "log_records"]

_MAX_BITS = 25  # LOG_BUF_LEN_MAX is 2 GiB; a descriptor is for each 32 bytes of it
_MAX_TEXT_BITS = 31
_STATE = 62  # DESC_STATE(): bits 62-63 of state_var
_COMMITTED, _FINALIZED = 1, 2
_ID = (1 << _STATE) - 1
_NO_DATA = 1  # LPOS_DATALESS()
_BLOCK_ID = 8  # a block begins with the id of its descriptor, an unsigned long


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record: its time on printk's clock in ns, and its text, which may be of several lines."""

    ns: int
    text: str


class _Log:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._log = kernel.struct("printk_ringbuffer", kernel.pointer("prb"))
        descs, text = self._log.inside("desc_ring"), self._log.inside("text_data_ring")
        self._bits, self._text_bits = descs["count_bits"], text["size_bits"]
        if not 0 < self._bits <= _MAX_BITS or not 0 < self._text_bits <= _MAX_TEXT_BITS:
            raise ParseError(
                f"the kernel log: rings of 2^{self._bits} records and 2^{self._text_bits} bytes"
            )
        self._descs, self._infos, self._data = descs["descs"], descs["infos"], text["data"]
        self._head, self._tail = descs["head_id"] & _ID, descs["tail_id"] & _ID
        self._desc_size = kernel.size_of("prb_desc")
        self._info_size = kernel.size_of("printk_info")

    def records(self) -> Iterator[LogRecord]:
        count = (self._head - self._tail & _ID) + 1
        if count > 1 << self._bits:
            raise ParseError(f"the kernel log: {count} records in a ring of 2^{self._bits}")
        for number in range(count):
            ident = self._tail + number & _ID
            try:
                record = self._record(ident)
            except SourceError as error:
                self._kernel.notes.missing("records of the kernel log", f"{number}", error)
                continue
            if record is not None:
                yield record

    def _record(self, ident: int) -> LogRecord | None:
        index = ident & (1 << self._bits) - 1
        desc = self._kernel.struct("prb_desc", self._descs + index * self._desc_size)
        state = desc["state_var"]
        if state >> _STATE not in (_COMMITTED, _FINALIZED) or state & _ID != ident:
            return None
        info = self._kernel.struct("printk_info", self._infos + index * self._info_size)
        length = info["text_len"]
        return LogRecord(info["ts_nsec"], self._text(desc, length))

    def _text(self, desc: Struct, length: int) -> str:
        begin, end = desc["text_blk_lpos.begin"], desc["text_blk_lpos.next"]
        if begin & _NO_DATA or end & _NO_DATA:
            return ""
        size = 1 << self._text_bits
        wraps = begin >> self._text_bits != end - 1 >> self._text_bits
        offset = _BLOCK_ID if wraps else begin % size + _BLOCK_ID
        length = min(length, (end % size or size) - offset)
        if length <= 0:
            return ""
        data = self._kernel.memory.read(self._data + offset, length)
        return data.decode("utf-8", "backslashreplace")


def log_records(kernel: Kernel) -> Iterator[LogRecord]:
    """All records, oldest first; those that cannot be read are noted."""
    return _Log(kernel).records()


def dmesg(records: Iterator[LogRecord]) -> str:
    """The text that ``dmesg`` prints: each line under its record's time stamp."""
    lines = []
    for record in records:
        stamp = f"[{record.ns // 10**9:5d}.{record.ns % 10**9 // 1000:06d}] "
        lines += [f"{stamp}{line}\n" for line in record.text.split("\n")]
    return "".join(lines)
