"""The trace arrays: the global buffer and every instance, with what tracefs says of them.

See ``struct trace_array`` (``kernel/trace/trace.h``) and ``kernel/trace/trace.c``.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass, field
from tracekit.kmemory.kernel import Kernel, Struct
from tracekit.kmemory.lists import entries
from tracekit.kmemory.ring import CpuRing, Layout, read_ring

__all__ = ["TraceArray", "TraceBuffer", "trace_arrays"]

_MAX_ARRAYS = 512
_MAX_ORDER = 8  # of a sub-buffer: 1 MiB, RB_WRITE_MASK's reach
_MAX_CLOCKS = 32
_MAX_OPTIONS = 64
_OFF = 1 << 20  # RB_BUFFER_OFF, kernel/trace/ring_buffer.c
_NAME = 256


@dataclass(frozen=True, slots=True)
class TraceBuffer:
    """A ring buffer: its CPUs' rings, the size of its sub-buffers in bytes, whether it records."""

    subbuf_size: int
    recording: bool
    rings: tuple[CpuRing, ...]
    address: int = 0  # of the memory that a boot-time instance keeps it in, else 0

    @property
    def empty(self) -> bool:
        """Whether the kernel counts no event in it."""
        return not any(ring.entries_left for ring in self.rings)


@dataclass(frozen=True, slots=True)
class TraceArray:
    """``name`` is '' for the global buffer. ``options`` are as ``trace_options`` lists them."""

    name: str
    clock: str
    clocks: tuple[str, ...]
    tracer: str
    options: tuple[str, ...]
    flags: int
    buffer: TraceBuffer | None
    snapshot: TraceBuffer | None = None
    layout: Layout = field(default_factory=lambda: Layout(0, 8, 8, 16))

    @property
    def label(self) -> str:
        """How messages name it."""
        return self.name or "the global buffer"


def _strings(kernel: Kernel, symbol: str, step: int, offset: int, limit: int) -> tuple[str, ...]:
    """The strings that an array of pointers, or of structs with one, names; up to a NULL."""
    start = kernel.symbol(symbol)
    end = kernel.symbols.end_of(start)
    names = []
    for address in range(start + offset, min(end, start + limit * step), step):
        pointer = kernel.memory.u64(address)
        if not pointer:
            break
        names.append(kernel.memory.text(pointer, _NAME))
    return tuple(names)


def _clocks(kernel: Kernel) -> tuple[str, ...]:
    """``trace_clocks[]``, an array of a struct without a name."""
    number = kernel.types.nameless("func", "name", "in_ns")
    place = kernel.place(number, "name") if number else None
    if number is None or place is None:
        return ()
    size = kernel.types.size_of(number)
    return _strings(kernel, "trace_clocks", size, place.offset, _MAX_CLOCKS)


def _options(kernel: Kernel, array: Struct, names: tuple[str, ...]) -> tuple[str, ...]:
    """As ``tracing_trace_options_show()`` prints them: the array's own, then its tracer's."""
    flags = array["trace_flags"]
    lines = [name if flags >> bit & 1 else f"no{name}" for bit, name in enumerate(names)]
    tracer = array.follow("current_trace")
    own = array.get("current_trace_flags")
    if array.has("current_trace_flags"):
        # a copy of the tracer's for each array: a pointer to struct tracer_flags
        table = array.follow("current_trace_flags") if own else None
    else:
        table = tracer.follow("flags") if tracer else None
    if table is None or not (option := table.follow("opts")):
        return tuple(lines)
    value = table["val"]
    size = kernel.size_of("tracer_opt")
    for index in range(_MAX_OPTIONS):
        entry = kernel.struct("tracer_opt", option.address + index * size)
        if not (name := entry.text("name")):
            break
        lines.append(name if value & entry["bit"] else f"no{name}")
    return tuple(lines)


def _buffer(kernel: Kernel, buffer: Struct, label: str, layout: Layout) -> TraceBuffer:
    order = buffer.get("subbuf_order") or 0
    if not 0 <= order <= _MAX_ORDER:
        raise ParseError(f"{label}: sub-buffers of 2^{order} pages")
    size = kernel.info.page_size << order
    table = buffer["buffers"]
    rings = []
    for cpu in range(kernel.cpu_count):
        try:
            address = kernel.memory.u64(table + 8 * cpu)
            if address:  # else the CPU was never there
                per_cpu = kernel.struct("ring_buffer_per_cpu", address)
                rings.append(read_ring(kernel, per_cpu, size, layout))
        except SourceError as error:
            kernel.notes.missing("CPUs' ring buffers", f"{label} cpu {cpu}", error)
    recording = not (buffer.get("record_disabled") or 0) & _OFF
    return TraceBuffer(size, recording, tuple(rings), buffer.get("range_addr_start") or 0)


def _array(
    kernel: Kernel, array: Struct, clocks: tuple[str, ...], options: tuple[str, ...], layout: Layout
) -> TraceArray:
    name = array.text("name")
    label = name or "global"
    buffers: list[TraceBuffer | None] = []
    unused = array.has("allocated_snapshot") and _value(array, "allocated_snapshot") == 0
    for path in ("array_buffer.buffer", "max_buffer.buffer", "snapshot_buffer.buffer"):
        try:
            wanted = array.has(path) and not (buffers and unused)
            buffer = array.follow(path) if wanted else None
            buffers.append(_buffer(kernel, buffer, label, layout) if buffer else None)
        except SourceError as error:
            kernel.notes.missing("trace buffers", f"{label} ({path})", error)
            buffers.append(None)
    number, clock = _value(array, "clock_id"), ""
    if number is not None and 0 <= number < len(clocks):
        clock = clocks[number]
    tracer, lines = "", options
    try:
        if (current := array.follow("current_trace")) is not None:
            tracer = current.text("name")
        lines = _options(kernel, array, options)
    except SourceError as error:
        lines = ()
        kernel.notes.missing("trace arrays' options", label, error)
    return TraceArray(
        name, clock, clocks, tracer, lines, _value(array, "trace_flags") or 0, buffers[0],
        buffers[1] or buffers[2], layout,
    )  # fmt: skip


def _value(array: Struct, path: str) -> int | None:
    try:
        return array[path]
    except SourceError as error:
        array.kernel.notes.missing("members of trace arrays", path, error)
        return None


def _structs(kernel: Kernel) -> Iterator[Struct]:
    """Every ``struct trace_array``: those of the list, and the global one in any case."""
    seen = set()
    own = kernel.symbols.find("global_trace")
    head = kernel.symbol("ftrace_trace_arrays")
    for array in entries(kernel, head, "trace_array", "list", "trace arrays", limit=_MAX_ARRAYS):
        seen.add(array.address)
        yield array
    if own is not None and own not in seen:
        yield kernel.struct("trace_array", own)


def _table(kernel: Kernel, what: str) -> tuple[str, ...]:
    try:
        if what == "clocks":
            return _clocks(kernel)
        return _strings(kernel, "trace_options", 8, 0, _MAX_OPTIONS)
    except SourceError as error:
        kernel.notes.missing("tables of tracing", what, error)
        return ()


def trace_arrays(kernel: Kernel) -> list[TraceArray]:
    """All arrays, in the kernel's order: the youngest instance first, the global one last.

    One that cannot be read at all is noted.
    """
    layout = Layout.of(kernel)
    clocks, options = _table(kernel, "clocks"), _table(kernel, "options")
    arrays = []
    for struct in _structs(kernel):
        try:
            arrays.append(_array(kernel, struct, clocks, options, layout))
        except SourceError as error:
            kernel.notes.missing("trace arrays", f"{struct.address:#x}", error)
    return arrays
