"""Events that were made at run time, as ``dynamic_events`` lists them.

``trace_kprobe_show()`` (kernel/trace/trace_kprobe.c) and ``eprobe_dyn_event_show()``
(kernel/trace/trace_eprobe.c). Other kinds are not told.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.errors import SourceError
from tracekit.kmemory.kernel import Kernel, NoMember, Struct
from tracekit.kmemory.lists import entries

__all__ = ["dynamic_events"]

_MAX_EVENTS = 1 << 14
_MAX_ARGS = 128  # MAX_TRACE_ARGS
_KPROBES, _EPROBES = "trace_kprobe_ops", "eprobe_dyn_event_ops"


def _name(probe: Struct) -> str:
    """``GROUP/EVENT``."""
    event = probe.follow("tp.event")
    if event is None:
        raise NoMember("a probe without an event")
    return f"{event.text('class.system')}/{event.text('call.name')}"


def _arguments(kernel: Kernel, probe: Struct) -> str:
    size = kernel.size_of("probe_arg")
    args = probe.start_of("tp.args")
    parts = []
    for index in range(min(probe["tp.nr_args"], _MAX_ARGS)):
        arg = kernel.struct("probe_arg", args + index * size)
        parts.append(f" {arg.text('name')}={arg.text('comm')}")
    return "".join(parts)


def _kprobe(kernel: Kernel, probe: Struct) -> str:
    kind = "r" if probe["rp.handler"] else "p"
    active = (probe.get("rp.maxactive") or 0) if kind == "r" else 0
    offset, symbol = probe["rp.kp.offset"], probe.text("symbol")
    where = f"{symbol}+{offset}" if offset else symbol
    if not symbol:
        where = f"{probe['rp.kp.addr']:#x}"
    return f"{kind}{active or ''}:{_name(probe)} {where}{_arguments(kernel, probe)}\n"


def _eprobe(kernel: Kernel, probe: Struct) -> str:
    attached = f"{probe.text('event_system')}.{probe.text('event_name')}"
    return f"e:{_name(probe)} {attached}{_arguments(kernel, probe)}\n"


def _line(kernel: Kernel, event: Struct) -> str:
    kinds = ((_KPROBES, "trace_kprobe", _kprobe), (_EPROBES, "trace_eprobe", _eprobe))
    ops = event["ops"]
    for symbol, struct_, show in kinds:
        place = kernel.place(struct_, "devent")
        if ops == kernel.symbols.find(symbol) and place is not None:
            return show(kernel, kernel.struct(struct_, event.address - place.offset))
    return ""


def dynamic_events(kernel: Kernel) -> Iterator[str]:
    """The lines, oldest event first; what cannot be read is noted."""
    head = kernel.symbols.find("dyn_event_list")
    if head is None or kernel.place("dyn_event", "list") is None:
        return
    for event in entries(kernel, head, "dyn_event", "list", "dynamic events", limit=_MAX_EVENTS):
        try:
            if line := _line(kernel, event):
                yield line
        except NoMember:
            raise
        except SourceError as error:
            kernel.notes.missing("dynamic events", f"{event.address:#x}", error)
