"""Events that begin and end something: the one list that spans and the report go by.

``context`` says whose the two events are: of one CPU (an interrupt ends where it began), of one
task, or of nobody (a request is issued here and completes there). ``identity`` names arguments that
both have alike, so that two at a time are told apart. ``name`` are
arguments of the begin, read as ``by`` says: as they are, as a function's address, or as words of
the printed text (regular expressions, the first that matches).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from tracekit.analysis.kprobe_events import kprobes
from tracekit.frozen import dataclass
from tracekit.probes.kprobes import GROUP
from tracekit.probes.records import KINDS
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["GRAPH_ENTRIES", "GRAPH_EXIT", "KINDS_OF_SPANS", "Pair", "enabled_events", "pairs_of"]

Context = Literal["cpu", "task", "any"]
By = Literal["fields", "symbol", "text", "event"]

#: The kinds of spans, in the order that help and documents list them.
KINDS_OF_SPANS = (
    "irq", "vector", "ipi", "softirq", "tasklet", "timer", "csd", "syscall", "work", "function",
    "page fault", "call", "notifier", "initcall", "device", "cpuhp", "block", "softirq wait",
    "work wait",
)  # fmt: skip
GRAPH_ENTRIES = tuple(
    f"ftrace:{name}"
    for name in ("funcgraph_entry", "funcgraph_retaddr_entry", "fgraph_retaddr_entry")
)
GRAPH_EXIT = "ftrace:funcgraph_exit"
_ENTER, _EXIT = "syscalls:sys_enter_", "syscalls:sys_exit_"
_REBOOT = "syscalls:sys_enter_reboot"
#: Functions that handle a page fault, by which a probe or the graph tracer sees one.
_FAULTS = frozenset(
    ("exc_page_fault", "asm_exc_page_fault", "do_user_addr_fault", "do_page_fault",
     "do_mem_abort", "handle_mm_fault")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """A begin and its end, both ``system:name``; see the module.

    ``what``: how the report calls it, '' for what it does not ask for. ``recursive``: one may begin
    inside another of the same identity. ``first``: begun again before it ended, it is still the
    first (a softirq is raised once however often). ``label``: the name, where no argument tells.
    """

    kind: str
    begin: str
    end: str
    context: Context
    identity: tuple[str, ...] = ()
    by: By = "event"
    name: tuple[str, ...] = ()
    what: str = ""
    recursive: bool = False
    first: bool = False
    label: str = ""


_PAIRS = (
    Pair("irq", "irq:irq_handler_entry", "irq:irq_handler_exit", "cpu", ("irq",),
         "fields", ("irq", "name"), "interrupt"),
    Pair("softirq", "irq:softirq_entry", "irq:softirq_exit", "cpu", ("vec",),
         "text", (r"action=(\w+)", r"(\d+)"), "softirq"),
    Pair("tasklet", "irq:tasklet_entry", "irq:tasklet_exit", "cpu", ("func",),
         "symbol", ("func",), "tasklet"),
    Pair("timer", "timer:hrtimer_expire_entry", "timer:hrtimer_expire_exit", "cpu", ("hrtimer",),
         "symbol", ("function",), "timer"),
    Pair("timer", "timer:timer_expire_entry", "timer:timer_expire_exit", "cpu", ("timer",),
         "symbol", ("function",), "timer"),
    Pair("ipi", "ipi:ipi_entry", "ipi:ipi_exit", "cpu", (), "text", (r"\((.*)\)",), "IPI"),
    Pair("cpuhp", "cpuhp:cpuhp_enter", "cpuhp:cpuhp_exit", "cpu", ("idx",), "text",
         (r"step: *(\d+)",), "CPU hotplug step"),
    Pair("initcall", "initcall:initcall_start", "initcall:initcall_finish", "task", ("func",),
         "symbol", ("func",), "initcall"),
    Pair("work", "workqueue:workqueue_execute_start", "workqueue:workqueue_execute_end", "task",
         ("work",), "symbol", ("function",), "work item"),
    Pair("device", "power:device_pm_callback_start", "power:device_pm_callback_end", "task",
         ("device",), "fields", ("device",), "device callback"),
    Pair("csd", "csd:csd_function_entry", "csd:csd_function_exit", "cpu", ("func", "csd"),
         "symbol", ("func",)),
    Pair("block", "block:block_rq_issue", "block:block_rq_complete", "any", ("dev", "sector"),
         "text", (r"(\d+,\d+) \w+",)),
    Pair("softirq wait", "irq:softirq_raise", "irq:softirq_entry", "cpu", ("vec",),
         "text", (r"action=(\w+)", r"(\d+)"), first=True),
    Pair("work wait", "workqueue:workqueue_queue_work", "workqueue:workqueue_execute_start", "any",
         ("work",), "symbol", ("function",), first=True),
    Pair("syscall", "raw_syscalls:sys_enter", "raw_syscalls:sys_exit", "task", ("id",),
         "fields", ("id",)),
)  # fmt: skip
#: Events of tracekit's own probes: where it records a begin, it records the end.
_PROBED = frozenset([GROUP, *(kind.event.partition(":")[0] for kind in KINDS.values())])


def enabled_events(boot: Boot) -> Iterator[str]:
    """The events that were enabled when the boot was saved last."""
    base = f"boots/{boot.index}/"
    for path in boot.session.files(f"{base}tracefs/"):
        if path.endswith("/set_event"):
            yield from boot.text(path.removeprefix(base)).split()


def _probed(names: Sequence[str]) -> Iterator[Pair]:
    """The BPF probes' calls; the shutdown of a device is one of a device."""
    for kind in KINDS.values():
        if kind.event in names and not kind.instant:
            end = f"{kind.event}_return"
            if kind.event == "device:shutdown":
                yield Pair("device", kind.event, end, "task", ("device",), "fields", ("device",),
                           "call")  # fmt: skip
            else:
                yield Pair("call", kind.event, end, "task", what="call", recursive=True)


def _with_functions(boot: Boot) -> Iterator[Pair]:
    probes = kprobes(boot)
    returns = {function: event for event, function, returned in probes if returned}
    for event, function, returned in probes:
        if not returned and function in returns:
            kind = "page fault" if function in _FAULTS else "call"
            yield Pair(kind, event, returns[function], "task", what="call", recursive=True,
                       label=function)  # fmt: skip


def pairs_of(events: Events, boot: Boot) -> list[Pair]:
    """All that has a begin and an end among the events of a boot; the function graph is apart."""
    names = sorted({kind.name for kind in events.kinds if kind.boot == boot.index})
    made = list(_PAIRS)
    for name in names:
        if name.startswith("irq_vectors:") and name.endswith("_entry"):
            end = f"{name.removesuffix('_entry')}_exit"
            label = name.partition(":")[2].removesuffix("_entry")
            made.append(Pair("vector", name, end, "cpu", what="interrupt", label=label))
        elif name.startswith((_ENTER, _EXIT)):
            label = name.removeprefix(_ENTER).removeprefix(_EXIT)
            one = Pair("syscall", _ENTER + label, _EXIT + label, "task", label=label)
            made.append(one)
    made += [*_probed(names), *_with_functions(boot)]
    present = frozenset(names)
    enabled = frozenset(enabled_events(boot))
    found = (pair for pair in dict.fromkeys(made) if {pair.begin, pair.end} & present)
    return [pair for pair in found if _tells(pair, present, enabled)]


def _tells(pair: Pair, present: frozenset[str], enabled: frozenset[str]) -> bool:
    """Whether an end that is not there did not happen: ends are recorded, or would have been."""
    certain = pair.begin.partition(":")[0] in _PROBED
    certain |= pair.begin == _REBOOT  # it returns only where it fails
    return certain or pair.end in present or pair.end in enabled
