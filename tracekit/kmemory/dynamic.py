"""Events that were made at run time, as ``dynamic_events`` lists them.

By ``trace_kprobe_show()`` (kernel/trace/trace_kprobe.c) and its kin in trace_uprobe.c,
trace_fprobe.c, trace_eprobe.c and trace_events_synth.c. Other kinds are not told.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.errors import SourceError
from tracekit.kmemory.kernel import Kernel, NoMember, Struct
from tracekit.kmemory.lists import entries

__all__ = ["dynamic_events"]

_MAX_EVENTS = 1 << 14
_MAX_ARGS = 128  # MAX_TRACE_ARGS
_MAX_FIELDS = 64  # SYNTH_FIELDS_MAX
_DATA_LOC = "__data_loc "
_POINTER = 16  # digits of an address


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


def _uprobe(kernel: Kernel, probe: Struct) -> str:
    kind = "r" if probe["consumer.ret_handler"] else "p"
    where = f"{probe.text('filename')}:0x{probe['offset']:0{_POINTER}x}"
    counter = probe.get("ref_ctr_offset") or 0
    counted = f"(0x{counter:x})" if counter else ""
    return f"{kind}:{_name(probe)} {where}{counted}{_arguments(kernel, probe)}\n"


def _fprobe(kernel: Kernel, probe: Struct) -> str:
    kind = "t" if probe.get("tprobe", "tpoint") else "f"
    returns = bool(probe["fp.exit_handler"])
    active = (probe.get("fp.nr_maxactive") or 0) if returns else 0
    where = f"{probe.text('symbol')}{'%return' if returns else ''}"
    return f"{kind}{active or ''}:{_name(probe)} {where}{_arguments(kernel, probe)}\n"


def _synthetic(kernel: Kernel, event: Struct) -> str:
    fields = []
    for index in range(min(event["n_fields"], _MAX_FIELDS)):
        field = kernel.struct("synth_field", kernel.memory.u64(event["fields"] + 8 * index))
        type_ = field.text("type")
        _, located, dynamic = type_.partition(_DATA_LOC)
        fields.append(f"{dynamic if located else type_} {field.text('name')}")
    return f"s:{event.text('class.system')}/{event.text('name')}\t{'; '.join(fields)}\n"


#: What each kind's operations are called, its struct, and how it is shown.
_KINDS = (
    ("trace_kprobe_ops", "trace_kprobe", _kprobe),
    ("trace_uprobe_ops", "trace_uprobe", _uprobe),
    ("trace_fprobe_ops", "trace_fprobe", _fprobe),
    ("eprobe_dyn_event_ops", "trace_eprobe", _eprobe),
    ("synth_event_ops", "synth_event", _synthetic),
)


def _line(kernel: Kernel, event: Struct) -> str:
    ops = event["ops"]
    for symbol, struct_, show in _KINDS:
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
