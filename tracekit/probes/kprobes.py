"""The probes without BPF: kprobe events that cover the same functions inside the trace instance.

Lines are for tracefs's ``kprobe_events`` (``Documentation/trace/kprobetrace.rst``). What a kprobe
event cannot record is listed as missing; a duration is the time from an event to its ``_return``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracekit.frozen import dataclass
from tracekit.probes.arguments import Source, resolve
from tracekit.probes.control import control_event, no_offsets
from tracekit.probes.kernel import Missing, ProbedKernel, shutdown_functions
from tracekit.probes.records import KINDS, READ_OUT, Kind, Value
from tracekit.sysroot import Sysroot

__all__ = ["GROUP", "KprobePlan", "kprobe_plan", "plan_kprobes"]

GROUP = "tracekit"
_TOO_MANY = ("kho:preserve", "kho:unpreserve")
_PCI = "pci_device_shutdown"


@dataclass(frozen=True, slots=True)
class KprobePlan:
    """``lines`` to write, one by one; (event, function) of each; what is missing, and why.

    ``filters``: line -> (name of its kprobe event, filter), without which it must not be enabled:
    it probes what the whole system does.
    """

    lines: tuple[str, ...]
    probes: tuple[tuple[str, str], ...]
    missing: tuple[Missing, ...]
    filters: Mapping[str, tuple[str, str]]

    def describe(self, refused: Mapping[str, str]) -> dict[str, Any]:
        """The JSON form, for ``bpf.json``; ``refused``: line -> why the kernel did not take it."""
        planned = list(zip(self.lines, self.probes, strict=True))
        failed = [
            Missing(event, (function,), f"the kernel refused '{line}': {refused[line]}")
            for line, (event, function) in planned
            if line in refused
        ]
        taken = dict.fromkeys(probe for line, probe in planned if line not in refused)
        return {
            "version": 1,
            "mode": "kprobes",
            "probes": [{"event": event, "function": function} for event, function in taken],
            "missing": [missing.as_dict() for missing in (*self.missing, *failed)],
            "lost": 0,
        }


def _dereference(source: Source) -> str:
    return f"{source.offset:+d}($arg{source.argument})"


def _value(value: Value, source: Source | None) -> str:
    """One argument, or '' for what a kprobe event cannot reach: entries of an array."""
    if source is None or source.entry:
        return ""
    fetched = _dereference(source) if source.bytes else f"$arg{source.argument}"
    if value.format == "%ps":
        type_ = "symbol"
    elif value.type == "s64":
        type_ = "s32"  # such values are ints
    else:
        type_ = "x64" if value.format.endswith("x") else "u64"
    return f"{value.label}={fetched}:{type_}"


def _text(label: str, source: Source | None) -> str:
    if source is None or not label:
        return ""
    fetched = {
        0: f"+0($arg{source.argument})",
        1: _dereference(source),
        8: f"+0({_dereference(source)})",
    }[source.bytes]
    return f"{label}={fetched}:string"


def _line(kind: str, event: str, function: str, arguments: Iterator[str]) -> str:
    return " ".join((f"{kind}:{GROUP}/{event}", function, *(a for a in arguments if a)))


def _function_lines(kind: Kind, function: str, kernel: ProbedKernel) -> Iterator[str]:
    values, name = resolve(kind, function, kernel.btf)
    event = kind.event.partition(":")[2]
    fetched = [_text(kind.name, name)]
    fetched += [_value(v, source) for v, source in zip(kind.values, values, strict=False)]
    yield _line("p", event, function, iter(fetched))
    if not kind.instant:
        returned = ["ret=$retval:s32"] if kind.returned else []
        yield _line("r", f"{event}_return", function, iter(returned))


def _device_lines(function: str, kernel: ProbedKernel) -> Iterator[str]:
    macros = kernel.device_macros()
    arguments = []
    if macros:
        arguments = [
            f"device=+0(+{macros['TK_DEVICE_NAME']}($arg1)):string",
            f"driver=+0(+{macros['TK_DRIVER_NAME']}(+{macros['TK_DEVICE_DRIVER']}($arg1))):string",
        ]
    if function == _PCI and "TK_PCI_IS_BUSMASTER" in macros:
        byte, bit = divmod(macros["TK_PCI_IS_BUSMASTER"], 8)
        arguments.append(f"bus_master={byte - macros['TK_PCI_DEVICE']:+d}($arg1):b1@{bit}/8")
    event = f"shutdown_{function}"
    yield _line("p", event, function, iter(arguments))
    yield _line("r", f"{event}_return", function, iter(arguments))  # fetched when it returns


def _uncovered(kind: Kind, kernel: ProbedKernel) -> str:
    """Why a kind has no kprobe event; '' where it has one."""
    if kind.event in _TOO_MANY:
        return "too many for a trace buffer; BPF records them"
    if ":" in "".join(kind.functions):
        return f"a tracepoint: enable {kind.functions[0]} instead"
    if kind.id in READ_OUT:
        return "counted with BPF only"
    if kernel.choose(kind.functions) is None:
        return kernel.missing(kind.event, kind.functions).reason
    return ""


def kprobe_plan(kernel: ProbedKernel) -> KprobePlan:
    """The kprobe events that this kernel can have."""
    lines: list[str] = []
    probes: list[tuple[str, str]] = []
    missing: list[Missing] = []
    filters: dict[str, tuple[str, str]] = {}

    def add(event: str, function: str, new: Iterator[str]) -> None:
        for line in new:
            lines.append(line)
            probes.append((event, function))

    for kind in KINDS.values():
        if kind.event == "device:shutdown":
            for function in shutdown_functions(kernel.btf):
                if not kernel.refusal(function):
                    add(kind.event, function, _device_lines(function, kernel))
            if not kernel.device_macros():
                missing.append(Missing("device:shutdown names", (), kernel.btf_reason))
        elif why := _uncovered(kind, kernel):
            missing.append(Missing(kind.event, kind.functions, why))
        elif kind.event.startswith("tracefs:"):
            if control := control_event(kind, kernel):
                chosen = kernel.choose(kind.functions) or ""
                line = _line("p", control.name, chosen, iter(control.arguments))
                filters[line] = control.name, control.filter
                add(kind.event, chosen, iter([line]))
            else:
                missing.append(no_offsets(kind, kernel))
        else:
            chosen = kernel.choose(kind.functions) or ""
            add(kind.event, chosen, _function_lines(kind, chosen, kernel))
    return KprobePlan(tuple(lines), tuple(probes), tuple(missing), filters)


def plan_kprobes(root: Sysroot) -> KprobePlan:
    """:func:`kprobe_plan` of the running kernel, or of a saved tree."""
    return kprobe_plan(ProbedKernel.read(root))
