"""What the BPF probes record: one fixed layout, ``struct tk_record`` of ``bpf/records.h``.

A record travels two ways. Through the BPF ring buffer it reaches user space as these bytes, and
``boots/N/bpf.bin`` is nothing but such records one after the other. Through
``bpf_trace_vprintk()`` it reaches the persistent trace instance as one line
(:func:`parse_compact`), even when user space is gone. Both carry the CPU and that CPU's
sequence number, so a record that came both ways is one record, and a hole in the numbers is a
loss.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import NamedTuple

from tracekit.frozen import dataclass

__all__ = [
    "KINDS",
    "READ_OUT",
    "RECORD",
    "RETURN",
    "Kind",
    "Record",
    "Value",
    "compact",
    "parse_compact",
    "unpack",
]

#: ns (CLOCK_MONOTONIC), duration_ns, value[4], seq, pid (thread), cpu, kind, zero, comm, name,
#: driver; little-endian, 144 bytes.
RECORD = struct.Struct("<QQ4QIIHHI16s40s24s")
RETURN = 0x8000  # set in ``kind`` when the function returned: duration_ns is its time

_COMPACT = re.compile(
    r"tk1 (?P<kind>[0-9a-f]{1,4}) (?P<seq>[0-9a-f]{1,8}) (?P<ns>[0-9a-f]{1,16}) "
    r"(?P<duration>[0-9a-f]{1,16}) (?P<values>[0-9a-f]{1,16}(?: [0-9a-f]{1,16}){3}) "
    r"(?P<name>.*)\|(?P<driver>[^|]*)",
    re.S,
)


class Value(NamedTuple):
    """One of ``value[4]``: its label, its C type (u64 or s64) and how it is printed."""

    label: str
    type: str = "u64"
    format: str = "%llu"


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that is recorded, as a call or as an instant.

    ``event`` is its ``system:name`` in the timeline; the return of a call is ``event`` with
    ``_return`` at its end and has ``duration_ns``. ``functions``: the kernel functions to probe,
    the first that exists is taken. ``values`` and ``returned`` label ``value[]`` at entry and at
    return; ``name`` and ``driver`` label the two texts, '' where they are not used, and ``text``
    labels a third one that takes all of ``value[]``. An ``instant`` has no return. A function with
    a colon in its name is a tracepoint.
    """

    id: int
    subject: str
    event: str
    functions: tuple[str, ...]
    values: tuple[Value, ...] = ()
    returned: tuple[Value, ...] = ()
    name: str = ""
    driver: str = ""
    text: str = ""
    instant: bool = False


class Record(NamedTuple):
    """One record. ``kind`` has :data:`RETURN` taken off; ``returned`` says it was there."""

    ns: int
    duration_ns: int
    values: tuple[int, int, int, int]
    seq: int
    pid: int
    cpu: int
    kind: int
    returned: bool
    comm: str
    name: str
    driver: str


_RET = (Value("ret", "s64", "%lld"),)
_PA, _SIZE, _TOKEN = Value("pa", "u64", "%#llx"), Value("size"), Value("token", "u64", "%#llx")
_BUFFER, _FUNCTION = Value("buffer", "u64", "%#llx"), Value("function", "u64", "%ps")
_CPU = Value("cpu", "s64", "%lld")
_BUS_MASTER = Value("bus_master", "s64", "%lld")  # 1, 0; -1 where it is no PCI device
_ALL: tuple[Kind, ...] = (
    Kind(
        1, "kexec", "kexec:load",
        ("__x64_sys_kexec_file_load", "__arm64_sys_kexec_file_load", "__do_sys_kexec_file_load"),
        (Value("flags", "u64", "%#llx"),), _RET,
    ),
    Kind(2, "kexec", "kexec:image_alloc", ("kimage_file_alloc_init",), returned=_RET),
    Kind(3, "kexec", "kexec:prepare_segments", ("kimage_file_prepare_segments",), returned=_RET),
    Kind(4, "kexec", "kexec:kho_fill_kimage", ("kho_fill_kimage",), returned=_RET),
    Kind(5, "kexec", "kexec:machine_kexec_prepare", ("machine_kexec_prepare",), returned=_RET),
    Kind(6, "kexec", "kexec:digests", ("kexec_calculate_store_digests",), returned=_RET),
    Kind(
        7, "kexec", "kexec:load_segment",
        ("kimage_load_segment", "kimage_load_normal_segment"),
        (Value("index", "s64", "%lld"), _PA, _SIZE, Value("copied")), _RET,
    ),
    Kind(
        8, "kexec", "kexec:reboot", ("__x64_sys_reboot", "__arm64_sys_reboot", "__do_sys_reboot"),
        (Value("cmd", "u64", "%#llx"),), _RET,
    ),
    Kind(9, "kexec", "kexec:kernel_kexec", ("kernel_kexec",), returned=_RET),
    Kind(10, "kexec", "kexec:liveupdate_reboot", ("liveupdate_reboot",), returned=_RET),
    Kind(11, "kexec", "kexec:kernel_restart_prepare", ("kernel_restart_prepare",)),
    Kind(12, "kexec", "kexec:notifier", ("notifier:notifier_run",), (_FUNCTION,), instant=True),
    Kind(13, "kexec", "kexec:device_shutdown", ("device_shutdown",)),
    Kind(14, "kexec", "kexec:migrate_to_reboot_cpu", ("migrate_to_reboot_cpu",)),
    Kind(15, "kexec", "kexec:syscore_shutdown", ("syscore_shutdown",)),
    Kind(
        16, "kexec", "kexec:machine_shutdown", ("native_machine_shutdown", "machine_shutdown"),
    ),
    Kind(
        17, "kexec", "kexec:stop_other_cpus",
        ("native_stop_other_cpus", "smp_shutdown_nonboot_cpus", "smp_send_stop"),
    ),
    Kind(
        18, "kexec", "kexec:machine_kexec", ("machine_kexec",),
        (Value("start", "u64", "%#llx"),), instant=True,
    ),
    Kind(
        19, "kexec", "kexec:kmsg_dump", ("kmsg_dump_desc", "kmsg_dump"),
        (Value("reason", "s64", "%lld"),),
    ),
    Kind(
        20, "kexec", "kexec:notifiers", ("blocking_notifier_call_chain",),
        (Value("chain", "u64", "%ps"), Value("action")), _RET,
    ),
    Kind(21, "kexec", "kexec:image_load", ("bzImage64_load", "image_load"), returned=()),
    Kind(
        22, "kexec", "kexec:load_segments", ("__x64_sys_kexec_load", "__arm64_sys_kexec_load"),
        (Value("flags", "u64", "%#llx"),), _RET,
    ),
    # the other ways down; none of these returns
    Kind(23, "kexec", "kexec:kernel_restart", ("kernel_restart",), instant=True),
    Kind(
        24, "kexec", "kexec:machine_restart", ("native_machine_restart", "machine_restart"),
        instant=True,
    ),
    Kind(25, "kexec", "kexec:emergency_restart", ("emergency_restart",), instant=True),
    Kind(
        26, "kexec", "kexec:machine_emergency_restart",
        ("native_machine_emergency_restart", "machine_emergency_restart"), instant=True,
    ),
    Kind(27, "kexec", "kexec:kernel_power_off", ("kernel_power_off",), instant=True),
    Kind(
        28, "kexec", "kexec:machine_power_off", ("native_machine_power_off", "machine_power_off"),
        instant=True,
    ),
    Kind(29, "kexec", "kexec:kernel_halt", ("kernel_halt",), instant=True),
    Kind(
        30, "kexec", "kexec:machine_halt", ("native_machine_halt", "machine_halt"), instant=True,
    ),
    Kind(31, "kexec", "kexec:panic", ("vpanic", "panic"), instant=True),
    Kind(33, "kexec", "kexec:crash_kexec", ("__crash_kexec",), instant=True),
    Kind(
        34, "kexec", "kexec:machine_crash_shutdown",
        ("native_machine_crash_shutdown", "machine_crash_shutdown"), instant=True,
    ),
    Kind(
        32, "devices", "device:shutdown", (), (_BUS_MASTER, _FUNCTION), (_BUS_MASTER, _FUNCTION),
        name="device", driver="driver",
    ),
    Kind(
        48, "kho", "kho:preserve",
        ("kho_radix_add_page", "kho_radix_add_key", "__kho_preserve_order"), (_PA, _SIZE),
        instant=True,
    ),
    Kind(
        49, "kho", "kho:unpreserve", ("kho_radix_del_page", "kho_radix_del_key"), (_PA, _SIZE),
        instant=True,
    ),
    Kind(50, "kho", "kho:alloc_preserve", ("kho_alloc_preserve",), (_SIZE,)),
    Kind(
        51, "kho", "kho:preserve_vmalloc", ("kho_preserve_vmalloc",),
        (Value("address", "u64", "%#llx"),), _RET,
    ),
    Kind(
        52, "kho", "kho:add_subtree", ("kho_add_subtree",),
        (Value("address", "u64", "%#llx"), _SIZE), _RET, name="name",
    ),
    Kind(
        53, "kho", "kho:remove_subtree", ("kho_remove_subtree",),
        (Value("address", "u64", "%#llx"),),
    ),
    Kind(64, "kho", "luo:create_session", ("luo_session_create",), (), _RET, name="session"),
    Kind(65, "kho", "luo:retrieve_session", ("luo_session_retrieve",), (), _RET, name="session"),
    Kind(66, "kho", "luo:finish_session", ("luo_session_finish",), (), _RET, name="session"),
    Kind(
        67, "kho", "luo:preserve_file", ("luo_preserve_file",),
        (_TOKEN, Value("fd", "s64", "%lld")), _RET, name="session",
    ),
    Kind(
        68, "kho", "luo:retrieve_file", ("luo_retrieve_file",), (_TOKEN,), _RET, name="session",
    ),
    Kind(69, "kho", "luo:freeze_files", ("luo_file_freeze",), (), _RET, name="session"),
    Kind(70, "kho", "luo:serialize_sessions", ("luo_session_serialize",), (), _RET),
    Kind(
        80, "ring_buffer", "ring_buffer:resize", ("ring_buffer_resize",),
        (_BUFFER, _SIZE, _CPU), _RET,
    ),
    Kind(81, "ring_buffer", "ring_buffer:reset_cpu", ("ring_buffer_reset_cpu",), (_BUFFER, _CPU)),
    Kind(
        82, "ring_buffer", "ring_buffer:reset_online_cpus", ("ring_buffer_reset_online_cpus",),
        (_BUFFER,),
    ),
    Kind(83, "ring_buffer", "ring_buffer:record_on", ("ring_buffer_record_on",), (_BUFFER,)),
    Kind(84, "ring_buffer", "ring_buffer:record_off", ("ring_buffer_record_off",), (_BUFFER,)),
    Kind(
        85, "ring_buffer", "ring_buffer:set_clock", ("tracing_set_clock",),
        (Value("trace_array", "u64", "%#llx"),), _RET, name="clock",
    ),
    Kind(
        86, "control", "ring_buffer:instance_mkdir",
        ("tracefs_syscall_mkdir",), (), _RET, name="instance",
    ),
    Kind(
        87, "control", "ring_buffer:instance_rmdir",
        ("tracefs_syscall_rmdir",), (), _RET, name="instance",
    ),
    Kind(
        88, "ring_buffer", "ring_buffer:map", ("ring_buffer_map",), (_BUFFER, _CPU), _RET,
    ),
    Kind(
        89, "ring_buffer", "ring_buffer:counters", (),
        (
            Value("written"), Value("overrun"),
            Value("page_crossings", "s64", "%lld"), Value("reader_swaps", "s64", "%lld"),
        ),
        name="instance", driver="state", instant=True,
    ),
    Kind(
        90, "control", "tracefs:write", ("vfs_write",), name="file", driver="instance",
        text="value", instant=True,
    ),
    Kind(91, "control", "tracefs:open", ("vfs_open",), name="file", driver="instance",
         instant=True),
    Kind(92, "control", "tracefs:truncate", ("vfs_open",), name="file", driver="instance",
         instant=True),
    Kind(93, "control", "tracefs:close", ("__fput",), name="file", driver="instance",
         instant=True),
    Kind(
        94, "control", "ring_buffer:deltas", (),
        (
            Value("written"), Value("written_delta", "s64", "%lld"),
            Value("overrun"), Value("overrun_delta", "s64", "%lld"),
        ),
        name="instance", driver="state", instant=True,
    ),
)  # fmt: skip

#: By ``id``.
KINDS: Mapping[int, Kind] = {kind.id: kind for kind in _ALL}

#: The ids of records that user space makes; they are not part of a CPU's sequence.
READ_OUT = frozenset(
    kind.id for kind in _ALL if kind.event in ("ring_buffer:counters", "ring_buffer:deltas")
)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def unpack(data: bytes, offset: int = 0) -> Record:
    """The record at ``offset``; raises :class:`struct.error` where it does not fit."""
    ns, duration, a, b, c, d, seq, pid, cpu, kind, _, comm, name, driver = RECORD.unpack_from(
        data, offset
    )
    return Record(
        ns, duration, (a, b, c, d), seq, pid, cpu, kind & ~RETURN, bool(kind & RETURN),
        _text(comm), _text(name), _text(driver),
    )  # fmt: skip


def compact(record: Record) -> str:
    """The line that ``bpf/records.h`` prints for a record; CPU, pid and comm are the event's."""
    kind = record.kind | (RETURN if record.returned else 0)
    values = " ".join(f"{value:x}" for value in record.values)
    return (
        f"tk1 {kind:x} {record.seq:x} {record.ns:x} {record.duration_ns:x} {values} "
        f"{record.name}|{record.driver}"
    )


def parse_compact(line: str, cpu: int = 0, pid: int = 0, comm: str = "") -> Record | None:
    """A line of :func:`compact`, on ``cpu`` by task ``pid``; None for any other text."""
    m = _COMPACT.fullmatch(line.rstrip("\n"))
    if m is None:
        return None
    a, b, c, d = (int(v, 16) for v in m["values"].split())
    kind = int(m["kind"], 16)
    return Record(
        int(m["ns"], 16), int(m["duration"], 16), (a, b, c, d), int(m["seq"], 16), pid, cpu,
        kind & ~RETURN, bool(kind & RETURN), comm, m["name"], m["driver"],
    )  # fmt: skip
