"""The kernel's own text form of a trace: header, line prefixes, remarks.

Byte for byte what the file ``trace`` holds under the default options (``context-info``,
``irq-info``), from ``kernel/trace/trace.c`` and ``kernel/trace/trace_output.c``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

__all__ = [
    "BufferStarts",
    "clock_in_ns",
    "comm_of",
    "context",
    "cpu_column",
    "header",
    "latency_flags",
    "line_contexts",
    "lost_events",
    "mmiotrace_line",
    "repeat_time",
    "task_columns",
]

LineContext: TypeAlias = Callable[[int, int, int, int, int], str]

# trace_clocks[] in trace.c, and x86's in arch/x86/include/asm/trace_clock.h
_COUNTING_CLOCKS = frozenset({"counter", "uptime", "x86-tsc"})
_CACHE_LIMIT = 1 << 16

# enum trace_flag_type, include/linux/trace_events.h
_IRQS_OFF, _LAZY, _RESCHED, _HARDIRQ, _SOFTIRQ, _PREEMPT, _NMI, _BH_OFF = (
    1 << bit for bit in range(8)
)
_NEED_RESCHED = {
    _RESCHED | _LAZY | _PREEMPT: "B",
    _RESCHED | _PREEMPT: "N",
    _LAZY | _PREEMPT: "L",
    _RESCHED | _LAZY: "b",
    _RESCHED: "n",
    _PREEMPT: "p",
    _LAZY: "l",
}
_DIGITS = ".123456789abcdef"


def comm_of(pid: int, comms: Mapping[int, str]) -> str:
    """The task's name as ``__trace_find_cmdline()`` gives it.

    ``<idle>`` for pid 0, ``<XXX>`` for a negative one, ``<...>`` for an unknown one.
    """
    if pid > 0:
        return comms.get(pid, "<...>")
    return "<XXX>" if pid else "<idle>"


def clock_in_ns(clock: str) -> bool:
    """True if trace clock ``clock`` counts nanoseconds, so that times print as seconds."""
    return clock not in _COUNTING_CLOCKS


_LATENCY = """\
#                                _-----=> irqs-off
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable"""
#: Tracers that head their columns themselves: print_graph_headers(), print_osnoise_headers(),
#: print_timerlat_headers().
_OWN_HEADERS = {
    "function_graph": """\
# CPU  DURATION                  FUNCTION CALLS
# |     |   |                     |   |   |   |
""",
    "osnoise": f"""\
{_LATENCY}                         MAX
#                              |||| /     delay                                   \
SINGLE      Interference counters:
#                              |||||               RUNTIME      NOISE  %% OF CPU  \
NOISE    +-----------------------------+
#           TASK-PID      CPU# |||||   TIMESTAMP    IN US       IN US  AVAILABLE  \
IN US     HW    NMI    IRQ   SIRQ THREAD
#              | |         |   |||||      |           |             |    |            \
|      |      |      |      |      |
""",
    "timerlat": f"""\
{_LATENCY}
#                              |||| /     delay
#                              |||||            ACTIVATION
#           TASK-PID      CPU# |||||   TIMESTAMP   ID            CONTEXT                 LATENCY
#              | |         |   |||||      |         |                  |                       |
""",
}


def header(tracer: str, entries: int, written: int, cpus: int, has_tgid: bool = False) -> str:
    """The comment lines at the top, each with its newline.

    ``entries`` are in the buffer, ``written`` includes those overwritten since, ``cpus`` are
    online. ``has_tgid``: with option ``record-tgid``. (``print_func_help_header_irq()``,
    ``print_event_info()``.)
    """
    top = f"# tracer: {tracer}\n#\n"
    if tracer in _OWN_HEADERS:
        return top + _OWN_HEADERS[tracer]
    gap = " " * (12 if has_tgid else 2)
    tgid, bar = ("     TGID   ", "       |    ") if has_tgid else ("  ", "  ")
    indent = f"#                            {gap}"
    return (
        f"{top}# entries-in-buffer/entries-written: {entries}/{written}   #P:{cpus}\n#\n"
        f"{indent}  _-----=> irqs-off/BH-disabled\n"
        f"{indent} / _----=> need-resched\n"
        f"{indent}| / _---=> hardirq/softirq\n"
        f"{indent}|| / _--=> preempt-depth\n"
        f"{indent}||| / _-=> migrate-disable\n"
        f"{indent}|||| /     delay\n"
        f"#           TASK-PID  {tgid} CPU#  |||||  TIMESTAMP  FUNCTION\n"
        f"#              | |    {bar}   |   |||||     |         |\n"
    )


def latency_flags(flags: int, preempt_count: int) -> str:
    """The five letters of ``trace_print_lat_fmt()``, ``d.h1.`` for one."""
    off, bh_off = flags & _IRQS_OFF, flags & _BH_OFF
    irqs = ("D" if bh_off else "d") if off else ("b" if bh_off else ".")
    resched = _NEED_RESCHED.get(flags & (_RESCHED | _LAZY | _PREEMPT), ".")
    hardirq, softirq = flags & _HARDIRQ, flags & _SOFTIRQ
    if flags & _NMI:
        level = "Z" if hardirq else "z"
    elif hardirq:
        level = "H" if softirq else "h"
    else:
        level = "s" if softirq else "."
    depth, migrate = (_DIGITS[preempt_count >> shift & 0xF] for shift in (0, 4))
    return f"{irqs}{resched}{level}{depth}{migrate}"


def _usecs(ts: int) -> int:
    """``ns2usecs()``: ns, rounded to microseconds."""
    return (ts + 500) // 1000


def _time(ts: int, in_ns: bool) -> str:
    """``trace_print_time()``: rounded to microseconds by ``ns2usecs()``."""
    if not in_ns:
        return f" {ts:12d}: "
    seconds, micros = divmod(_usecs(ts), 1_000_000)
    return f" {seconds:5d}.{micros:06d}: "


def mmiotrace_line(event: str, text: str, ts: int) -> str:
    """What ``mmio_print_line()`` prints while ``mmiotrace`` is the tracer: '' for other events.

    ``text`` is the event's own; ``ts`` in ns.
    """
    seconds, micros = divmod(_usecs(ts), 1_000_000)
    stamp = f"{seconds}.{micros:06d}"
    if event == "ftrace:print":
        return f"MARK {stamp} {text.partition(': ')[2]}\n"
    if event not in ("ftrace:mmiotrace_rw", "ftrace:mmiotrace_map"):
        return ""
    first, *rest = text.split(" ")
    if first in ("rw", "map"):  # an operation that the kernel does not know
        return f"{text}\n"
    rest.insert(first in ("R", "W"), stamp)
    return f"{' '.join([first, *rest])}\n"


def _task_column(comm: str, pid: int, tgid: int | None = None) -> str:
    """The columns before the CPU; ``tgid`` None: no such column, 0: not known."""
    column = "" if tgid is None else f"({tgid:7d}) " if tgid else "(-------) "
    return f"{comm:>16s}-{pid:<7d} {column}"


def task_columns(
    comms: Mapping[int, str], tgids: Mapping[int, int] | None = None
) -> Callable[[int], str]:
    """What stands before the CPU, by pid; ``tgids`` (``saved_tgids``): option ``record-tgid``."""

    def column(pid: int) -> str:
        tgid = None if tgids is None else tgids.get(pid, 0)
        return _task_column(comm_of(pid, comms), pid, tgid)

    return column


def cpu_column(cpu: int) -> str:
    """The column after them."""
    return f"[{cpu:03d}] "


def context(
    comm: str, pid: int, cpu: int, flags: int, preempt_count: int, ts: int, in_ns: bool
) -> str:
    """Everything before an event's text (``trace_print_context()``), ``": "`` included.

    ``ts`` is as the kernel wrote it: nanoseconds where ``in_ns``, else the clock's own count.
    """
    task = _task_column(comm, pid) + cpu_column(cpu)
    return f"{task}{latency_flags(flags, preempt_count)}{_time(ts, in_ns)}"


def line_contexts(
    comms: Mapping[int, str], in_ns: bool, tgids: Mapping[int, int] | None = None
) -> LineContext:
    """A fast :func:`context` for many lines: ``(cpu, pid, flags, preempt_count, ts) -> str``.

    ``tgids`` as for :func:`task_columns`. Everything but the time is cached.
    """
    tasks = task_columns(comms, tgids)
    cache: dict[tuple[int, int, int, int], str] = {}
    start, seconds = 0, "    0."  # the last second printed: in microseconds, and as text

    def line(cpu: int, pid: int, flags: int, preempt_count: int, ts: int) -> str:
        nonlocal start, seconds
        key = (cpu, pid, flags, preempt_count)
        task = cache.get(key)
        if task is None:
            if len(cache) >= _CACHE_LIMIT:
                cache.clear()
            state = latency_flags(flags, preempt_count)
            task = cache[key] = f"{tasks(pid)}{cpu_column(cpu)}{state} "
        if not in_ns:
            return f"{task}{ts:12d}: "
        micros = _usecs(ts) - start
        if not 0 <= micros < 1_000_000:
            start += micros // 1_000_000 * 1_000_000
            seconds = f"{start // 1_000_000:5d}."
            micros %= 1_000_000
        return f"{task}{seconds}{str(1_000_000 + micros)[1:]}: "

    return line


def repeat_time(args: str, ts: int, in_ns: bool) -> str:
    """``args`` of an ``ftrace:func_repeats`` event with the last call's time as in the kernel.

    The column holds how long before the event (at ``ts``) the call was; the kernel prints its
    time stamp.
    """
    text, mark, delta = args.rpartition("last_ts: -")
    digits = delta.removesuffix(")")
    if not mark or not digits.isdecimal() or len(digits) > 20:
        return args
    return f"{text}last_ts:{_time(ts - int(digits), in_ns)[:-2]})"


def lost_events(cpu: int, count: int | None = None) -> str:
    """The remark before the first event after a loss (``print_trace_line()``), with newline.

    ``count`` None: how many were lost is not known, which is always so in the file ``trace``;
    only ``trace_pipe`` gives numbers.
    """
    return f"CPU:{cpu} [LOST {f'{count} ' if count is not None else ''}EVENTS]\n"


class BufferStarts:
    """When to write ``##### CPU n buffer started ####`` (``test_cpu_buff_start()``).

    Only if any CPU's buffer has overrun, and then before each CPU's first event, so that a reader
    sees from where on a CPU is covered, but not before the first two events of the whole text. It
    comes after a :func:`lost_events` remark. The function_graph tracer writes none.
    """

    def __init__(self, overruns: bool) -> None:
        self._overruns = overruns
        self._started: set[int] = set()
        self._index = 0

    def to_come(self, cpus: Sequence[int]) -> list[int]:
        """Those of the CPUs whose first event is still to be remarked on."""
        return [cpu for cpu in cpus if cpu not in self._started] if self._overruns else []

    def skip(self, events: int) -> None:
        """So many events come next that are no CPU's first, or of which no remark is written."""
        self._index += events

    def before(self, cpu: int) -> str:
        """The remark to write before the next event, one of ``cpu``, or nothing."""
        index = self._index
        self._index += 1
        if not self._overruns or cpu in self._started:
            return ""
        self._started.add(cpu)
        return f"##### CPU {cpu} buffer started ####\n" if index > 1 else ""
