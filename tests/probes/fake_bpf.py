"""BCC and libbpf that record what they are asked, where no probe can be attached."""

from __future__ import annotations

import ctypes
import functools
import re
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tracekit.probes.libbpf import BpfError, Pmu
from tracekit.probes.objects import Objects
from tracekit.probes.records import RECORD

__all__ = ["Bpf", "Loaded", "fake_bcc"]


def fake_bcc() -> SimpleNamespace:
    """What the compiler uses of the module."""
    return SimpleNamespace(BPF=Bpf, __file__="bcc.py", libbcc=SimpleNamespace(lib=Libbcc()))


class Bpf:
    """What the compiler uses of ``bcc.BPF``: it "compiles" every function of the text."""

    made: list[Bpf] = []

    def __init__(self, text: bytes, cflags: list[str]) -> None:
        self.made.append(self)
        self.text, self.cflags = text.decode(), cflags
        self.cleaned = 0

    @property
    def module(self) -> int:
        return len(self.made) - 1

    def cleanup(self) -> None:
        self.cleaned += 1


class Libbcc:
    """What libbcc tells of a module: one map, descriptor 9, and a program that loads it."""

    CODE = bytes.fromhex("181100000900000000000000000000009500000000000000")

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(self.CODE, len(self.CODE))
        # a function whose attributes can be set, as those of ctypes can
        self.bpf_table_name = functools.partial(lambda module, i: b"tk_records")

    def _names(self, module: Any) -> list[bytes]:
        text = Bpf.made[module.value or 0].text
        return [name.encode() for name in re.findall(r"(?m)^int (tk_\w+)\(struct", text)]

    def bpf_num_tables(self, module: Any) -> int:
        return 1

    def bpf_num_functions(self, module: Any) -> int:
        return len(self._names(module))

    def bpf_function_name(self, module: Any, i: int) -> bytes:
        return self._names(module)[i]

    def bpf_function_start(self, module: Any, name: bytes) -> int:
        return ctypes.addressof(self._buffer)

    def bpf_function_size(self, module: Any, name: bytes) -> int:
        return len(self.CODE)

    def __getattr__(self, name: str) -> Any:
        values = {"fd_id": 9, "type_id": 27, "max_entries_id": 4096}
        return lambda module, i: values.get(name.removeprefix("bpf_table_"), 0)


class Loaded:
    """What the loader uses of libbpf; ``refused``: functions that cannot be attached."""

    refused: tuple[str, ...] = ()
    made: list[Loaded] = []

    def __init__(self, objects: Objects, pmu: Pmu) -> None:
        self.made.append(self)
        self.objects, self.pmu = objects, pmu
        self.functions: dict[int, bytes] = {}
        self.recorder = 0
        self.attached: list[tuple[str, str, str]] = []
        self.closed = 0
        self.cpus = [struct.pack("<IIQQQ", 1, 0, 3, 5, 7), struct.pack("<IIQQQ", 1, 0, 4, 6, 8)]
        self.pending: list[bytes] = []
        self.take: Callable[[bytes], None] | None = None

    def update(self, name: str, key: bytes, value: bytes) -> None:
        if name == "tk_functions":
            self.functions[int.from_bytes(key, "little")] = value
        else:
            assert (name, key) == ("tk_recorder", bytes(4))
            self.recorder = int.from_bytes(value, "little")

    def lookup(self, name: str, key: bytes) -> list[bytes]:
        assert (name, key) == ("tk_cpus", bytes(4))
        return self.cpus

    def _attach(self, how: str, name: str, program: str) -> None:
        if name in self.refused:
            raise BpfError(f"{name}: Invalid argument")
        assert program in self.objects.programs
        self.attached.append((how, name, program))

    def attach_kprobe(self, function: str, program: str, *, returns: bool = False) -> None:
        self._attach("r" if returns else "p", function, program)

    def attach_raw_tracepoint(self, name: str, program: str) -> None:
        self._attach("t", name, program)

    def read_ring(self, name: str, take: Callable[[bytes], None], size: int) -> None:
        assert (name, size) == ("tk_records", RECORD.size)
        self.take = take

    def poll(self, timeout_ms: int) -> None:
        for data in self.pending:
            assert self.take is not None
            self.take(data)
        self.pending = []

    def close(self) -> None:
        self.closed += 1
