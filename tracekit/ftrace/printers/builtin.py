"""The events of the system ``ftrace``, as ``kernel/trace/trace_output.c`` prints them.

Their ``print fmt`` describes the binary formats for other tools; for the ``trace`` file the kernel
has a print function for each event. Every offset comes from the event's format, whose
fields are those of ``kernel/trace/trace_entries.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracekit.errors import FormatError
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.kernel_printf.vsprintf import Conversion, parse_format_string
from tracekit.ftrace.printers.arguments import function_arguments
from tracekit.ftrace.printers.binprintf import binary_text
from tracekit.ftrace.printers.readers import (
    Payload,
    Render,
    integers,
    ip_names,
    need,
    text_at,
    words_at,
)
from tracekit.ftrace.printers.trace_file import comm_of

__all__ = ["compile_builtin"]

_TRAMPOLINE_MARKER = 0x7FFFFFFF  # FTRACE_TRAMPOLINE_MARKER, kernel/trace/trace.h
_STACK_END = (1 << 64) - 1  # ULONG_MAX ends a stack shorter than its record
_U64 = (1 << 64) - 1
_STATES = "RSDTtXZPI"  # task_index_to_char(), include/linux/sched.h
_TIMERLAT_CONTEXTS = ("irq", "thread", "user-ret")


def compile_builtin(fmt: EventFormat, ctx: Context) -> Render | None:
    """The printer of an event of the system ``ftrace``; None for one that is not known here.

    Raises :class:`FormatError` where the format lacks what the kernel's printer reads. The
    printer raises :class:`struct.error` on a record too short for its format.
    """
    if compiler := _COMPILERS.get(fmt.name):
        return compiler(fmt, ctx)
    from tracekit.ftrace.printers.function_graph import compile_graph

    return compile_graph(fmt, ctx)


def _s32(value: int) -> int:
    return (value & 0x7FFFFFFF) - (value & 0x80000000)


def _one_newline_less(text: str) -> str:
    return text[:-1] if text.endswith("\n") else text


def _function(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_fn_trace()``."""
    read = integers(fmt, "ip", "parent_ip")
    names = ip_names(ctx.symbols)
    args = fmt.field("args")
    plain, arguments = args.offset if args else 1 << 32, function_arguments(ctx)

    def render(payload: Payload) -> str:
        ip, parent = read(payload)
        name = names[ip]
        if len(payload) > plain:
            name += arguments(payload, plain, ip)
        return f"{name} <-{names[parent]}" if parent else name

    return render


def _func_repeats(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_func_repeats_print()``, but with ``last_ts`` relative to the event.

    A payload has no time stamp; :func:`~tracekit.ftrace.printers.trace_file.repeat_time` adds one.
    """
    read = integers(fmt, "ip", "parent_ip", "count", "top_delta_ts", "bottom_delta_ts")
    names = ip_names(ctx.symbols)

    def render(payload: Payload) -> str:
        ip, parent, count, top, bottom = read(payload)
        caller = f" <-{names[parent]}" if parent else ""
        return f"{names[ip]}{caller} (repeats: {count}, last_ts: -{top << 32 | bottom})"

    return render


def _context_switch(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_ctxwake_print()``."""
    read = integers(
        fmt, "prev_pid", "prev_prio", "prev_state", "next_cpu", "next_pid", "next_prio",
        "next_state",
    )  # fmt: skip
    arrow = "==>" if fmt.name == "context_switch" else "  +"

    def state(index: int) -> str:
        return _STATES[index] if index < len(_STATES) else "?"

    def render(payload: Payload) -> str:
        prev_pid, prev_prio, prev, next_cpu, next_pid, next_prio, then = read(payload)
        prev_pid, next_pid, next_cpu = _s32(prev_pid), _s32(next_pid), _s32(next_cpu)
        return (
            f" {prev_pid:7d}:{prev_prio:3d}:{state(prev)} {arrow} [{next_cpu:03d}]"
            f" {next_pid:7d}:{next_prio:3d}:{state(then)} {comm_of(next_pid, ctx.comms)}"
        )

    return render


def _kernel_stack(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_stack_print()``: one line per caller."""
    start = need(fmt, "caller").offset
    names = ip_names(ctx.symbols)

    def render(payload: Payload) -> str:
        lines = ["<stack trace>"]
        for ip in words_at(payload, start):
            if ip == _STACK_END:
                break
            name = "[FTRACE TRAMPOLINE]" if ip == _TRAMPOLINE_MARKER else names[ip]
            lines.append(f" => {name}")
        return "\n".join(lines)

    return render


def _user_stack(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_user_stack_print()`` without ``sym-userobj``: bare addresses."""
    caller = need(fmt, "caller")
    count = caller.size // 8

    def render(payload: Payload) -> str:
        lines = ["<user stack trace>"]
        for ip in words_at(payload, caller.offset)[:count]:
            if not ip:
                break
            lines.append(f" =>  <{ip:016x}>")
        return "\n".join(lines)

    return render


def _print(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_print_print()``: ``trace_marker`` and ``trace_printk()``."""
    read = integers(fmt, "ip")
    names = ip_names(ctx.symbols)
    start = need(fmt, "buf").offset

    def render(payload: Payload) -> str:
        return f"{names[read(payload)[0]]}: {_one_newline_less(text_at(payload, start))}"

    return render


def _bputs(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_bputs_print()``: the text is in the kernel image."""
    read = integers(fmt, "ip", "str")
    names = ip_names(ctx.symbols)

    def render(payload: Payload) -> str:
        ip, address = read(payload)
        text = ctx.printk_formats.get(address)
        if text is None:
            return f"{names[ip]}: [no text known for {address:#x}]"
        return f"{names[ip]}: {_one_newline_less(text)}"

    return render


def _bprint(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_bprint_print()``: ``trace_printk()``, whose format string is in the kernel image."""
    read = integers(fmt, "ip", "fmt")
    names = ip_names(ctx.symbols)
    start = need(fmt, "buf").offset
    known: dict[int, list[str | Conversion]] = {}

    def parts_of(address: int) -> list[str | Conversion]:
        if address not in known:
            text = ctx.printk_formats.get(address)
            if text is None:
                return [f"[no format known for {address:#x}]"]
            try:
                known[address] = parse_format_string(text, f"printk_formats {address:#x}")
            except FormatError:
                known[address] = [text]
        return known[address]

    def render(payload: Payload) -> str:
        ip, address = read(payload)
        text = binary_text(parts_of(address), payload, start, ctx.symbols)
        return f"{names[ip]}: {_one_newline_less(text)}"

    return render


def _raw_data(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_raw_data()``: ``trace_marker_raw``."""
    read = integers(fmt, "id")
    start = need(fmt, "buf").offset

    def render(payload: Payload) -> str:
        (ident,) = read(payload)
        data = bytes(payload[start:])
        return f"# {ident:x} buf:{' ' if data else ''}{data.hex(' ')}"

    return render


def _branch(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_branch_print()`` in ``kernel/trace/trace_branch.c``."""
    read = integers(fmt, "line", "correct")
    func, file = need(fmt, "func"), need(fmt, "file")

    def render(payload: Payload) -> str:
        line, correct = read(payload)
        name, path = (text_at(payload, f.offset, f.size) for f in (func, file))
        return f"[{'  ok  ' if correct else ' MISS '}] {name}:{path}:{_s32(line)}"

    return render


def _hwlat(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_hwlat_print()``."""
    read = integers(
        fmt, "seqnum", "duration", "outer_duration", "tv_sec", "tv_nsec", "count", "nmi_count",
        "nmi_total_ts",
    )  # fmt: skip

    def render(payload: Payload) -> str:
        seqnum, inner, outer, sec, nsec, count, nmi_count, nmi_total = read(payload)
        text = (
            f"#{seqnum:<5d} inner/outer(us): {inner:4d}/{outer:<5d} ts:{sec}.{nsec & _U64:09d}"
            f" count:{_s32(count)}"
        )
        if not nmi_count:
            return text
        # CONFIG_GENERIC_SCHED_CLOCK kernels neither keep nor print the total: it stays 0 there
        total = f" nmi-total:{nmi_total}" if nmi_total else ""
        return f"{text}{total} nmi-count:{nmi_count}"

    return render


def _osnoise(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_osnoise_print()``."""
    counters = ("hw_count", "nmi_count", "irq_count", "softirq_count", "thread_count")
    read = integers(fmt, "noise", "runtime", "max_sample", *counters)

    def render(payload: Payload) -> str:
        noise, runtime, worst, *counts = read(payload)
        free = ((runtime - noise) * 10_000_000 & _U64) // runtime if runtime else 0
        return (
            f"{runtime} {noise:10d} {free // 100_000:3d}.{free % 100_000:05d} {worst:7d}"
            f"{''.join(f' {count:6d}' for count in counts)}"
        )

    return render


def _timerlat(fmt: EventFormat, ctx: Context) -> Render:
    """``trace_timerlat_print()``."""
    read = integers(fmt, "seqnum", "context", "timer_latency")

    def render(payload: Payload) -> str:
        seqnum, context, latency = read(payload)
        known = 0 <= context < len(_TIMERLAT_CONTEXTS)
        name = _TIMERLAT_CONTEXTS[context] if known else str(context)
        return f"#{seqnum:<5d} context {name:>6s} timer_latency {latency:9d} ns"

    return render


def _mmiotrace_rw(fmt: EventFormat, ctx: Context) -> Render:
    """``mmio_print_rw()`` in ``kernel/trace/trace_mmiotrace.c``, without its own time column."""
    read = integers(fmt, "phys", "value", "pc", "map_id", "opcode", "width")

    def render(payload: Payload) -> str:
        phys, value, pc, map_id, opcode, width = read(payload)
        if opcode in (1, 2):  # MMIO_READ, MMIO_WRITE in include/linux/mmiotrace.h
            kind = "R" if opcode == 1 else "W"
            return f"{kind} {width} {map_id} 0x{phys:x} 0x{value:x} 0x{pc:x} 0"
        if opcode == 5:  # MMIO_UNKNOWN_OP: the value holds the instruction's bytes
            code = ",".join(f"{value >> shift & 0xFF:02x}" for shift in (16, 8, 0))
            return f"UNKNOWN {map_id} 0x{phys:x} {code} 0x{pc:x} 0"
        return "rw what?"

    return render


def _mmiotrace_map(fmt: EventFormat, ctx: Context) -> Render:
    """``mmio_print_map()`` in ``kernel/trace/trace_mmiotrace.c``, without its time column."""
    read = integers(fmt, "phys", "virt", "len", "map_id", "opcode")

    def render(payload: Payload) -> str:
        phys, virt, length, map_id, opcode = read(payload)
        if opcode == 3:  # MMIO_PROBE
            return f"MAP {map_id} 0x{phys:x} 0x{virt:x} 0x{length:x} 0x0 0"
        if opcode == 4:  # MMIO_UNPROBE
            return f"UNMAP {map_id} 0x0 0"
        return "map what?"

    return render


_COMPILERS: Mapping[str, Callable[[EventFormat, Context], Render]] = {
    "branch": _branch,
    "bprint": _bprint,
    "bputs": _bputs,
    "context_switch": _context_switch,
    "func_repeats": _func_repeats,
    "function": _function,
    "hwlat": _hwlat,
    "kernel_stack": _kernel_stack,
    "mmiotrace_map": _mmiotrace_map,
    "mmiotrace_rw": _mmiotrace_rw,
    "osnoise": _osnoise,
    "print": _print,
    "raw_data": _raw_data,
    "timerlat": _timerlat,
    "user_stack": _user_stack,
    "wakeup": _context_switch,
}
