"""Loads the BPF programs of ``bpf/`` and hands out their records.

Probes are perf events: they go away with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import struct
import time
from types import TracebackType
from typing import Any, Self

from tracekit.probes.attach import Attacher
from tracekit.probes.compiler import unavailable
from tracekit.probes.libbpf import BpfError, LoadedObjects, Pmu
from tracekit.probes.prepare import PMU, Prepared
from tracekit.probes.records import KINDS, RECORD
from tracekit.probes.stats import Counters
from tracekit.sysroot import Sysroot

__all__ = ["Probes", "load_probes"]

# struct tk_cpu: seq, zero, and what is counted
_CPU = struct.Struct("<IIQQQ")
_CPU_COUNTS = ("lost", "page_crossings", "reader_swaps")
_FIRST = struct.pack("<I", 0)  # the key of an array's only entry


class Probes:
    """Probes that are attached, until :meth:`close` or the end of the ``with`` block."""

    def __init__(
        self,
        prepared: Prepared,
        bpf: LoadedObjects,
        instance: str,
        attacher: Attacher,
        counted: frozenset[str],
    ) -> None:
        self._bpf = bpf
        self.headers = prepared.objects.headers
        self.compiled = prepared.compiled
        self._counters = Counters(prepared.root, instance)
        self._counted = counted
        self._chunks: list[bytes] = []
        self._lost: int | None = None  # once it is closed
        self.loaded = tuple(attacher.loaded)
        self.missing = tuple(attacher.missing)
        bpf.read_ring("tk_records", self._chunks.append, RECORD.size)

    def poll(self, timeout_ms: int) -> bytes:
        """The records since the last call; waits up to ``timeout_ms`` for the first.

        Behind those of control files come ``ring_buffer:deltas`` of the instances they belong to.
        """
        self._bpf.poll(timeout_ms)
        records = b"".join(self._chunks)
        self._chunks.clear()
        self._counters.note(records)
        return records + self._counters.due(time.monotonic())

    def _cpus(self) -> dict[str, list[int]]:
        """What ``struct tk_cpu`` of every possible CPU counts, by name."""
        found = self._bpf.lookup("tk_cpus", _FIRST)
        columns = zip(*(_CPU.unpack(one)[2:] for one in found), strict=True)
        return dict(zip(_CPU_COUNTS, map(list, columns), strict=True))

    def counters(self) -> bytes:
        """``ring_buffer:counters`` records of the instance, one per CPU, as of now.

        And the ``ring_buffer:deltas`` that :meth:`poll` still owes.
        """
        cpus = self._cpus()
        counted = {label: cpus[label] for label in self._counted}
        return self._counters.totals(counted) + self._counters.deltas()

    @property
    def lost(self) -> int:
        """Records the BPF ring buffer had no room for."""
        return sum(self._cpus()["lost"]) if self._lost is None else self._lost

    def describe(self) -> dict[str, Any]:
        """The JSON form, for ``bpf.json``."""
        return {
            "version": 1,
            "mode": "bpf",
            "headers": self.headers,
            "compiled": self.compiled,
            "probes": [probe.as_dict() for probe in self.loaded],
            "missing": [probe.as_dict() for probe in self.missing],
            "lost": self.lost,
        }

    def close(self) -> None:
        """Detach everything; may be called again."""
        if self._lost is None:
            self._lost = self.lost
            self._bpf.close()

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


def _pmu(root: Sysroot) -> Pmu:
    """How this kernel's perf events tell a kretprobe from a kprobe."""
    bit = re.fullmatch(r"config:(\d{1,2})", root.text(f"{PMU}/format/retprobe").strip())
    return Pmu(int(root.text(f"{PMU}/type")), int(bit[1]) if bit else 0)


def load_probes(prepared: Prepared, instance: str = "tk") -> Probes:
    """Load and attach what was prepared; counters are those of trace ``instance``.

    Raises :class:`ProbesUnavailable` where nothing can be loaded. A single probe that cannot be
    attached is in :attr:`Probes.missing`, and the rest still load.
    """
    root, subjects, kernel, objects, _ = prepared
    _raise_limit()
    try:
        bpf = LoadedObjects(objects, _pmu(root))
    except BpfError as error:
        raise unavailable(
            str(error), "install libbpf1 (Debian) or libbpf, see what the kernel says (dmesg)"
        ) from error
    attacher = Attacher(bpf, kernel)
    try:
        bpf.update("tk_recorder", _FIRST, struct.pack("<I", os.getpid()))
        counted = attacher.counters() if "ring_buffer" in subjects else frozenset[str]()
        for kind in KINDS.values():
            if kind.subject in subjects:
                attacher.kind(kind)
        return Probes(prepared, bpf, instance, attacher, counted)
    except BaseException:
        bpf.close()
        raise
