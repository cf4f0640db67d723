"""Loads compiled programs with libbpf, which BCC stands on, and attaches them.

BCC itself, with a whole compiler in it, need not be there for that. Everything goes away with the
process, however it ends. API: ``bpf.h`` and ``libbpf.h`` of libbpf 1.x; perf events:
``include/uapi/linux/perf_event.h``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from tracekit.errors import TracekitError
from tracekit.probes.objects import Map, Objects, with_maps

__all__ = ["BpfError", "LoadedObjects", "Pmu", "library"]

_LIBRARY = "libbpf.so.1"
_LICENSE = b"GPL"
_KPROBE, _RAW_TRACEPOINT = 2, 17  # enum bpf_prog_type
_PERCPU = frozenset({5, 6, 10})  # enum bpf_map_type: BPF_MAP_TYPE_PERCPU_HASH, _ARRAY, LRU_
_LOG = 1 << 16
_ATTR = struct.Struct("<IIQQQQQIIQQ")  # struct perf_event_attr up to config2: 72 bytes
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC
_SET_BPF, _ENABLE = 0x40042408, 0x2400  # PERF_EVENT_IOC_*
_SAMPLE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class BpfError(TracekitError):
    """The kernel refused a map, a program or a probe, or there is no libbpf."""


class Pmu(NamedTuple):
    """What the kernel says of its kprobe perf events (``/sys/bus/event_source/devices/kprobe``)."""

    type: int
    retprobe_bit: int


class _LoadOptions(ctypes.Structure):
    """struct bpf_prog_load_opts."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_int),
        ("prog_btf_fd", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_ifindex", ctypes.c_uint32),
        ("kern_version", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("attach_btf_obj_fd", ctypes.c_uint32),
        ("fd_array", ctypes.c_void_p),
        ("func_info", ctypes.c_void_p),
        ("func_info_cnt", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_void_p),
        ("line_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_char_p),
    ]


class _MapOptions(ctypes.Structure):
    """struct bpf_map_create_opts, as far as it is used."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    ]


def library() -> Any:
    """The library. Raises :class:`BpfError` where there is none."""
    try:
        found = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        raise BpfError(f"no {_LIBRARY} ({error})") from error
    found.libbpf_set_print(None)  # what it would print is in the errors
    found.ring_buffer__new.restype = ctypes.c_void_p
    return found


def _failed(what: str, status: int) -> BpfError:
    return BpfError(f"{what}: {os.strerror(abs(status))}")


class LoadedObjects:
    """Maps that are made, programs that are loaded when first used, probes that are attached."""

    def __init__(self, objects: Objects, pmu: Pmu) -> None:
        self._bpf = library()
        self._pmu = pmu
        self._kernel = ctypes.CDLL(None, use_errno=True)
        self._objects = objects
        self._open: list[int] = []
        self._programs: dict[str, int] = {}
        self._ring = ctypes.c_void_p()
        self._maps: dict[str, tuple[int, Map]] = {}  # in the order of the objects
        self._cpus: int = self._bpf.libbpf_num_possible_cpus()
        try:
            for one in objects.maps:
                self._maps[one.name] = self._kept(self._create(one), f"map {one.name}"), one
        except BaseException:
            self.close()
            raise

    def _kept(self, fd: int, what: str) -> int:
        if fd < 0:
            raise _failed(what, fd)
        self._open.append(fd)
        return fd

    def _create(self, one: Map) -> int:
        options = _MapOptions(sz=ctypes.sizeof(_MapOptions), map_flags=one.flags)
        fd: int = self._bpf.bpf_map_create(
            one.type, one.name.encode(), one.key_size, one.value_size, one.max_entries,
            ctypes.byref(options),
        )  # fmt: skip
        return fd

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Set an entry of a map that has one value for all CPUs."""
        fd, _ = self._maps[name]
        if status := self._bpf.bpf_map_update_elem(fd, key, value, ctypes.c_uint64(0)):
            raise _failed(f"map {name}", status)

    def lookup(self, name: str, key: bytes) -> list[bytes]:
        """The entry of each possible CPU, of a map that has one for each; else the only one."""
        fd, one = self._maps[name]
        size = (one.value_size + 7) // 8 * 8
        count = self._cpus if one.type in _PERCPU else 1
        buffer = ctypes.create_string_buffer(size * count)
        if status := self._bpf.bpf_map_lookup_elem(fd, key, buffer):
            raise _failed(f"map {name}", status)
        return [buffer.raw[size * i : size * i + one.value_size] for i in range(count)]

    def _program(self, name: str, kind: int) -> int:
        """The descriptor of a program, loaded if it is not yet."""
        if name not in self._programs:
            numbers = {i: fd for i, (fd, _) in enumerate(self._maps.values())}
            code = with_maps(self._objects.programs[name], numbers)
            fd, what = self._load(kind, name, code), f"program {name}"
            if fd < 0:  # once more, for what the verifier says
                log = ctypes.create_string_buffer(_LOG)
                fd = self._load(kind, name, code, log)
                said = log.value.decode("utf-8", "backslashreplace").splitlines()
                what = ": ".join([what, *said[-2:-1]])  # the last line only counts
            self._programs[name] = self._kept(fd, what)
        return self._programs[name]

    def _load(self, kind: int, name: str, code: bytes, log: Any = None) -> int:
        options = _LoadOptions(sz=ctypes.sizeof(_LoadOptions))
        if log is not None:
            options.log_level, options.log_size = 1, ctypes.sizeof(log)
            options.log_buf = ctypes.cast(log, ctypes.c_char_p)
        fd: int = self._bpf.bpf_prog_load(
            kind, name.encode()[:15], _LICENSE, code, ctypes.c_size_t(len(code) // 8),
            ctypes.byref(options),
        )  # fmt: skip
        return fd

    def attach_kprobe(self, function: str, program: str, *, returns: bool = False) -> None:
        """Run a program where a function begins, or where it returns."""
        fd = self._kept(self._kprobe(function, returns), function)
        try:
            fcntl.ioctl(fd, _SET_BPF, self._program(program, _KPROBE))
            fcntl.ioctl(fd, _ENABLE, 0)
        except OSError as error:
            raise BpfError(f"{function}: {error.strerror}") from error

    def _kprobe(self, function: str, returns: bool) -> int:
        """A perf event of the kprobe PMU, negative where the kernel refuses."""
        number = _PERF_EVENT_OPEN.get(platform.machine())
        if number is None:
            return -errno.ENOSYS
        name = ctypes.create_string_buffer(function.encode())
        attr = _ATTR.pack(
            self._pmu.type, _ATTR.size, returns << self._pmu.retprobe_bit,
            0, 0, 0, 0, 0, 0, ctypes.addressof(name), 0,
        )  # fmt: skip
        fd: int = self._kernel.syscall(
            ctypes.c_long(number), attr, -1, 0, -1, ctypes.c_ulong(_CLOEXEC)
        )
        return fd if fd >= 0 else -ctypes.get_errno()

    def attach_raw_tracepoint(self, name: str, program: str) -> None:
        """Run a program at a tracepoint."""
        fd = self._bpf.bpf_raw_tracepoint_open(
            name.encode(), self._program(program, _RAW_TRACEPOINT)
        )
        self._kept(fd, f"tracepoint {name}")

    def read_ring(self, name: str, take: Callable[[bytes], None], size: int) -> None:
        """From now on :meth:`poll` calls ``take`` with the first ``size`` bytes of each record."""

        def sample(_: Any, data: int, length: int) -> int:
            take(ctypes.string_at(data, min(length, size)))
            return 0

        self._sample = _SAMPLE(sample)  # must live as long as the ring is read
        ring = self._bpf.ring_buffer__new(self._maps[name][0], self._sample, None, None)
        if not ring:
            raise _failed(f"ring buffer {name}", ctypes.get_errno())
        self._ring = ctypes.c_void_p(ring)

    def poll(self, timeout_ms: int) -> None:
        """Take what is in the ring buffer; waits for the first record up to ``timeout_ms``."""
        self._bpf.ring_buffer__poll(self._ring, timeout_ms)
        self._bpf.ring_buffer__consume(self._ring)

    def close(self) -> None:
        """Detach everything; may be called again."""
        if self._ring:
            self._bpf.ring_buffer__free(self._ring)
            self._ring = ctypes.c_void_p()
        while self._open:
            with contextlib.suppress(OSError):
                os.close(self._open.pop())
