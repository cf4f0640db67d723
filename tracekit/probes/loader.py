"""Loads the BPF programs of ``bpf/`` with BCC and hands out their records.

The only importer of ``bcc``, which is not on PyPI but in Debian's ``python3-bpfcc`` (or
``bcc-tools``, ``python3-bcc`` elsewhere). Probes are perf events: they go away with the process,
however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from tracekit.probes.arguments import Source, resolve
from tracekit.probes.bcc_module import import_bcc
from tracekit.probes.compiler import (
    Compiled,
    ProbesUnavailable,
    captured,
    compile_programs,
    unavailable,
)
from tracekit.probes.control import PROGRAMS, control_macros, no_offsets
from tracekit.probes.headers import Headers, header_choices
from tracekit.probes.kernel import Missing, ProbedKernel, shutdown_functions
from tracekit.probes.records import KINDS, RECORD, Kind
from tracekit.probes.stats import Counters
from tracekit.sysroot import Sysroot

__all__ = ["SUBJECTS", "LoadedProbe", "Probes", "ProbesUnavailable", "load_probes"]

SUBJECTS = ("kexec", "devices", "kho", "ring_buffer", "control")

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


def _check(root: Sysroot) -> None:
    """Raise :class:`ProbesUnavailable` where loading is bound to fail."""
    if not root.live:
        raise ProbesUnavailable("BPF probes: only the running kernel can be probed, not a tree")
    if os.geteuid() != 0:
        raise unavailable("only root may load them", "run with sudo")
    if b"[confidentiality]" in (root.get("sys/kernel/security/lockdown") or b""):
        raise unavailable("kernel lockdown is 'confidentiality'", "boot with lockdown=integrity")
    if not root.exists("sys/bus/event_source/devices/kprobe/type"):
        raise unavailable("no kprobe perf events", "the kernel needs CONFIG_KPROBE_EVENTS")


def _headers(root: Sysroot) -> tuple[Headers, ...]:
    uname = os.uname()
    if choices := header_choices(root, uname.release, uname.machine):
        return choices
    raise unavailable(
        f"no headers of kernel {uname.release}, and tracekit has none for {uname.machine}",
        f"install linux-headers-{uname.release} or 'modprobe kheaders' (CONFIG_IKHEADERS)",
    )


def _bcc() -> Any:
    try:
        bcc = import_bcc()
    except (ImportError, OSError) as error:  # OSError: no libbcc
        raise unavailable(
            f"Python's bcc module cannot be imported ({error})",
            "install python3-bpfcc (Debian 13 or newer) or python3-bcc",
        ) from error
    if not hasattr(bcc, "BPF"):
        raise unavailable(f"{bcc.__file__} is another package", "remove it; BCC is not on PyPI")
    return bcc


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


class _Attacher:
    """Attaches the programs of one compiled module; keeps what is attached and what is missing."""

    def __init__(self, bpf: Any, kernel: ProbedKernel) -> None:
        self._bpf = bpf
        self._kernel = kernel
        self._functions = bpf["tk_functions"]
        self.loaded: list[LoadedProbe] = []
        self.missing: list[Missing] = []

    def _try(self, event: str, function: str, steps: Sequence[tuple[str, str]]) -> bool:
        """Call BPF methods ``(name, program)``; False and a :class:`Missing` where one fails."""
        with captured() as output:
            try:
                for method, program in steps:
                    getattr(self._bpf, method)(function.encode(), fn_name=program.encode())
            except Exception as error:  # BCC raises nothing more special
                problem = str(error)
            else:
                self.loaded.append(LoadedProbe(event, function))
                return True
        reason = "; ".join([*output[-2:], problem])
        self.missing.append(Missing(event, (function,), f"cannot be attached: {reason}"))
        return False

    def tracepoint(self, kind: Kind) -> None:
        name = kind.functions[0].partition(":")[2]
        self._try(kind.event, name, [("attach_raw_tracepoint", "tk_notifier")])

    def function(self, kind: Kind, function: str) -> None:
        """Attach a kind's programs to a function that is known to exist."""
        address = self._kernel.addresses[function]
        packed = _packed(kind, function, self._kernel)
        table = self._functions
        table[table.Key(address)] = table.Leaf.from_buffer_copy(packed)
        program = _PROGRAMS.get(kind.event, "tk_call")
        steps = [] if kind.instant else [("attach_kretprobe", f"{program}_return")]
        self._try(kind.event, function, [*steps, ("attach_kprobe", program)])

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
            elif self._try(event, function, [("attach_kprobe", program)]):
                counted.add(label)
            elif function not in self._kernel.traceable:
                self._kernel = replace(self._kernel, notrace=False)
                self.missing[-1] = self._kernel.missing(event, functions)
        self._kernel = replace(self._kernel, notrace=bool(counted))
        return frozenset(counted)


class Probes:
    """Probes that are attached, until :meth:`close` or the end of the ``with`` block."""

    def __init__(
        self,
        compiled: Compiled,
        root: Sysroot,
        instance: str,
        attacher: _Attacher,
        counted: frozenset[str],
    ) -> None:
        self._bpf = bpf = compiled.bpf
        self.headers = compiled.headers
        self._counters = Counters(root, instance)
        self._counted = counted
        self._chunks: list[bytes] = []
        self._lost = 0
        self.loaded = tuple(attacher.loaded)
        self.missing = tuple(attacher.missing)
        bpf["tk_records"].open_ring_buffer(self._take)

    def _take(self, _context: Any, data: int, size: int) -> None:
        self._chunks.append(ctypes.string_at(data, min(size, RECORD.size)))

    def poll(self, timeout_ms: int) -> bytes:
        """The records since the last call; waits up to ``timeout_ms`` for the first.

        Behind those of control files come ``ring_buffer:deltas`` of the instances they belong to.
        """
        self._bpf.ring_buffer_poll(timeout_ms)
        self._bpf.ring_buffer_consume()
        chunks, self._chunks = self._chunks, []
        records = b"".join(chunks)
        self._counters.note(records)
        return records + self._counters.due(time.monotonic())

    def _cpus(self) -> list[Any]:
        """``struct tk_cpu`` of every possible CPU."""
        return list(self._bpf["tk_cpus"][0])

    def counters(self) -> bytes:
        """``ring_buffer:counters`` records of the instance, one per CPU, as of now.

        And the ``ring_buffer:deltas`` that :meth:`poll` still owes.
        """
        cpus = self._cpus()
        counted = {label: [getattr(cpu, label) for cpu in cpus] for label in self._counted}
        return self._counters.totals(counted) + self._counters.deltas()

    @property
    def lost(self) -> int:
        """Records the BPF ring buffer had no room for."""
        if self._bpf is not None:
            self._lost = sum(cpu.lost for cpu in self._cpus())
        return self._lost

    def describe(self) -> dict[str, Any]:
        """The JSON form, for ``bpf.json``."""
        return {
            "version": 1,
            "mode": "bpf",
            "headers": self.headers.place,
            "probes": [probe.as_dict() for probe in self.loaded],
            "missing": [probe.as_dict() for probe in self.missing],
            "lost": self.lost,
        }

    def close(self) -> None:
        """Detach everything; may be called again."""
        if self._bpf is not None:
            self._lost = self.lost
            self._bpf.cleanup()
            self._bpf = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _raise_limit() -> None:
    """Each probe is an open file: use what the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def load_probes(
    root: Sysroot,
    subjects: Sequence[str] = SUBJECTS,
    instance: str = "tk",
    headers: Sequence[Headers] = (),
) -> Probes:
    """Compile and attach the probes of ``subjects``; counters are those of trace ``instance``.

    ``headers``: the trees to compile with, instead of what :func:`header_choices` finds.
    Raises :class:`ProbesUnavailable` where none can be loaded. A single one that cannot be
    attached is in :attr:`Probes.missing`, and the rest still load.
    """
    _check(root)
    bcc = _bcc()
    kernel = ProbedKernel.read(root)
    if not any(kernel.addresses.values()):
        raise unavailable("/proc/kallsyms hides addresses", "sysctl kernel.kptr_restrict=1")
    compiled = compile_programs(bcc, kernel, subjects, headers or _headers(root))
    _raise_limit()
    attacher = _Attacher(compiled.bpf, kernel)
    try:
        counted = attacher.counters() if "ring_buffer" in subjects else frozenset[str]()
        for kind in KINDS.values():
            if kind.subject in subjects:
                attacher.kind(kind)
        return Probes(compiled, root, instance, attacher, counted)
    except BaseException:
        compiled.bpf.cleanup()
        raise
