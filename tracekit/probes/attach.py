"""Attaches the compiled programs to the functions they are for, and says what cannot be probed."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import replace

from tracekit.frozen import dataclass
from tracekit.probes.arguments import Source, resolve
from tracekit.probes.control import PROGRAMS, control_macros, no_offsets
from tracekit.probes.kernel import Missing, ProbedKernel, shutdown_functions
from tracekit.probes.libbpf import BpfError, LoadedObjects
from tracekit.probes.records import Kind

__all__ = ["Attacher", "LoadedProbe"]

# struct tk_function of bpf/common.h: kind, flags, 5 x struct tk_source
_FUNCTION = struct.Struct("<HH" + "BBBBiI" * 5)
_NOTHING = Source(0)
_RETURNS_INT, _PERSIST, _PERSIST_DOWN, _DOWN, _ONLY_DOWN = 1, 2, 4, 8, 16
#: Where the way down begins, after which its notifiers are recorded.
_WAYS_DOWN = (
    "kexec:kernel_kexec",
    "kexec:kernel_restart",
    "kexec:kernel_power_off",
    "kexec:kernel_halt",
)
_PERSISTS = {
    "kexec": _PERSIST, "devices": _PERSIST, "control": _PERSIST, "kho": _PERSIST_DOWN,
}  # fmt: skip

#: Programs of bpf/ that are not tk_call, by event.
_PROGRAMS = {
    "device:shutdown": "tk_device",
    "kho:preserve": "tk_preserve",
    "kho:unpreserve": "tk_unpreserve",
    **PROGRAMS,
}
#: What the program of another event records as well.
_SHARED = {"tracefs:truncate": "tracefs:open"}
_COUNTED = {
    "page_crossings": ("tk_page_crossing", ("rb_move_tail",)),
    "reader_swaps": ("tk_reader_swap", ("__rb_get_reader_page", "rb_get_reader_page")),
}


@dataclass(frozen=True, slots=True)
class LoadedProbe:
    """A probe that is attached."""

    event: str
    function: str

    def as_dict(self) -> dict[str, str]:
        """The JSON form."""
        return {"event": self.event, "function": self.function}


def _packed(kind: Kind, function: str, kernel: ProbedKernel) -> bytes:
    """``struct tk_function`` for one probed function."""
    values, name = resolve(kind, function, kernel.btf)
    flags = _PERSISTS.get(kind.subject, 0)
    flags |= _RETURNS_INT if kind.returned else 0
    flags |= _DOWN if kind.event in _WAYS_DOWN else 0
    flags |= _ONLY_DOWN if kind.event == "kexec:notifiers" else 0
    fields: list[int] = [kind.id, flags]
    for i in range(4):
        s = (values[i] if i < len(values) else None) or _NOTHING
        is_int = i < len(kind.values) and kind.values[i].type == "s64"
        fields += [s.argument, s.bytes, s.entry, is_int, s.offset, s.stride]
    s = name or _NOTHING
    fields += [s.argument, s.bytes, s.entry, False, s.offset, s.stride]
    return _FUNCTION.pack(*fields)


class Attacher:
    """Attaches the programs of one compiled module; keeps what is attached and what is missing."""

    def __init__(self, bpf: LoadedObjects, kernel: ProbedKernel) -> None:
        self._bpf = bpf
        self._kernel = kernel
        self.loaded: list[LoadedProbe] = []
        self.missing: list[Missing] = []

    def _try(self, event: str, function: str, *steps: Callable[[], None]) -> bool:
        """Take the steps; False and a :class:`Missing` where one fails."""
        try:
            for step in steps:
                step()
        except BpfError as error:
            self.missing.append(Missing(event, (function,), f"cannot be attached: {error}"))
            return False
        self.loaded.append(LoadedProbe(event, function))
        return True

    def tracepoint(self, kind: Kind) -> None:
        """Attach to the tracepoint that a kind is recorded at."""
        name = kind.functions[0].partition(":")[2]
        self._try(kind.event, name, lambda: self._bpf.attach_raw_tracepoint(name, "tk_notifier"))

    def function(self, kind: Kind, function: str) -> None:
        """Attach a kind's programs to a function that is known to exist."""
        address = self._kernel.addresses[function]
        packed = _packed(kind, function, self._kernel)
        program = _PROGRAMS.get(kind.event, "tk_call")

        def attach(suffix: str = "") -> None:
            self._bpf.attach_kprobe(function, program + suffix, returns=bool(suffix))

        self._bpf.update("tk_functions", struct.pack("<Q", address), packed)
        steps = [] if kind.instant else [lambda: attach("_return")]
        self._try(kind.event, function, *steps, attach)

    def devices(self, kind: Kind) -> None:
        """Attach to every shutdown callback; notes it if the devices will have no names."""
        names = tuple(shutdown_functions(self._kernel.btf))
        present = [name for name in names if not self._kernel.refusal(name)]
        for name in present:
            self.function(kind, name)
        if not present:
            self.missing.append(self._kernel.missing(kind.event, names))
        elif not self._kernel.device_macros():
            reason = self._kernel.btf_reason or "BTF lacks a member of struct device"
            self.missing.append(Missing("device:shutdown names", (), reason))

    def _shares(self, kind: Kind) -> bool:
        """Whether the program of another kind that is attached records this one as well."""
        other = _SHARED.get(kind.event)
        probe = next((p for p in self.loaded if p.event == other), None)
        if probe is not None:
            self.loaded.append(LoadedProbe(kind.event, probe.function))
        return probe is not None

    def kind(self, kind: Kind) -> None:
        """Attach one kind to the first of its functions that can be probed."""
        if kind.event == "device:shutdown":
            self.devices(kind)
        elif kind.event.startswith("tracefs:") and not control_macros(self._kernel):
            self.missing.append(no_offsets(kind, self._kernel))
        elif self._shares(kind):
            pass
        elif kind.functions and ":" in kind.functions[0]:
            self.tracepoint(kind)
        elif kind.functions:
            function = self._kernel.choose(kind.functions)
            if function is None:
                self.missing.append(self._kernel.missing(kind.event, kind.functions))
            else:
                self.function(kind, function)

    def counters(self) -> frozenset[str]:
        """Attach the programs that only count; returns the labels that are counted.

        Their functions are the ring buffer's, which only some kernels allow to be probed. No file
        says which, so the first attempt decides.
        """
        self._kernel = replace(self._kernel, notrace=True)
        counted = set()
        for label, (program, functions) in _COUNTED.items():
            event = f"ring_buffer:counters {label}"
            function = self._kernel.choose(functions)
            if function is None:
                self.missing.append(self._kernel.missing(event, functions))
            elif self._try(
                event, function, functools.partial(self._bpf.attach_kprobe, function, program)
            ):
                counted.add(label)
            elif function not in self._kernel.traceable:
                self._kernel = replace(self._kernel, notrace=False)
                self.missing[-1] = self._kernel.missing(event, functions)
        self._kernel = replace(self._kernel, notrace=bool(counted))
        return frozenset(counted)
