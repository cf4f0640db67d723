"""Functions and tables of drivers that print formats name: what they print, where that is known.

A number that not all kernels print alike is marked, as any other that is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracekit.ftrace.kernel_printf.ctype import U16, U64, TypeName
from tracekit.ftrace.kernel_printf.pointers import READERS, take
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.releases import Version, is_known
from tracekit.ftrace.print_fmt.values import Env, Text, Value, as_type, text_of

__all__ = ["KERNEL_CALLS"]

_Args = tuple[nodes.Node, ...]
_Build = Callable[[Compiler, _Args], Value]


def _named(
    name: str,
    names: Mapping[int, str],
    otherwise: str,
    unsure: Callable[[int, Version], bool] = lambda _value, _version: False,
) -> tuple[_Build, int, int]:
    """A function that names an unsigned int.

    ``otherwise``: what all others are, but those that ``unsure`` chooses: they have names in some
    kernels. It is given the kernel's version, where that is known.
    """

    def build(compiler: Compiler, args: _Args) -> Text:
        version = compiler.ctx.version

        def text(value: int) -> str:
            named = names.get(value & 0xFFFFFFFF)
            if named is None:
                missing = unsure(value & 0xFFFFFFFF, version)
                named = f"(?{name}({value}))" if missing else otherwise
            return named

        return text_of(compiler.number(args[0]), text)

    return build, 1, 1


# -- SCSI: drivers/scsi/scsi_trace.c ----------------------------------------------------------

_IN = {  # MAINTENANCE IN, SPC
    0x05: "REPORT_IDENTIFYING_INFORMATION", 0x0A: "REPORT_TARGET_PORT_GROUPS",
    0x0B: "REPORT_ALIASES", 0x0C: "REPORT_SUPPORTED_OPERATION_CODES",
    0x0D: "REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS", 0x0E: "REPORT_PRIORITY",
    0x0F: "REPORT_TIMESTAMP", 0x10: "MANAGEMENT_PROTOCOL_IN",
}  # fmt: skip
_OUT = {
    0x06: "SET_IDENTIFYING_INFORMATION", 0x0A: "SET_TARGET_PORT_GROUPS", 0x0B: "CHANGE_ALIASES",
    0x0E: "SET_PRIORITY", 0x0F: "SET_TIMESTAMP", 0x10: "MANAGEMENT_PROTOCOL_OUT",
}  # fmt: skip
_ZONES = {1: "CLOSE_ZONE", 2: "FINISH_ZONE", 3: "OPEN_ZONE", 4: "RESET_WRITE_POINTER"}
_SERVICE_IN = {0x10: "READ_CAPACITY_16", 0x12: "GET_LBA_STATUS"}
_LONG = {0x09: "READ", 0x0A: "VERIFY", 0x0B: "WRITE", 0x0D: "WRITE_SAME"}
_ATOMIC_WRITE = 0x9C  # named since Linux 6.11
_WRITE_SAME = (0x41, 0x93)


def _big(cdb: bytes, at: int, size: int) -> int:
    return int.from_bytes(take(cdb[at:], size), "big")


def _blocks(cdb: bytes, lba: tuple[int, int], count: tuple[int, int]) -> str:
    """``scsi_trace_rw10()``, ``12`` and ``16``; the pairs are place and size."""
    text = f"lba={_big(cdb, *lba)} txlen={_big(cdb, *count)} protect={cdb[1] >> 5}"
    return f"{text} unmap={cdb[1] >> 3 & 1}" if cdb[0] in _WRITE_SAME else text


def _six(cdb: bytes) -> str:
    """``scsi_trace_rw6()``; no length is 256 blocks, which kernels print so since 5.5."""
    length = _big(cdb, 4, 1)
    return f"lba={_big(cdb, 1, 3) & 0x1FFFFF} txlen={length or '(?256)'}"


def _long(cdb: bytes) -> str:
    """``scsi_trace_varlen()``."""
    name = _LONG.get(_big(cdb, 8, 2))
    if name is None:
        return "-"
    text = f"{name}_32 lba={_big(cdb, 12, 8)} txlen={_big(cdb, 28, 4)} protect={cdb[10] >> 5}"
    unmap = f" unmap={cdb[10] >> 3 & 1}" if name == "WRITE_SAME" else ""
    return f"{text} ei_lbrt={_big(cdb, 20, 4)}{unmap}"


def _action(names: Mapping[int, str], rest: Callable[[bytes], str]) -> Callable[[bytes], str]:
    """A command with a service action."""

    def text(cdb: bytes) -> str:
        name = names.get(_big(cdb, 1, 1) & 0x1F)
        return "UNKNOWN" if name is None else f"{name} {rest(cdb)}"

    return text


def _zone_report(cdb: bytes) -> str:
    options = _big(cdb, 14, 1)
    text = f"zone={_big(cdb, 2, 8)} alloc_len={_big(cdb, 10, 4)}"
    return f"{text} options={options & 0x3F} partial={options >> 7}"


_COMMANDS: Mapping[int, Callable[[bytes], str]] = {
    **dict.fromkeys((0x08, 0x0A), _six),
    **dict.fromkeys((0x28, 0x2A, 0x2F, 0x41), lambda cdb: _blocks(cdb, (2, 4), (7, 2))),
    **dict.fromkeys((0xA8, 0xAA, 0xAF), lambda cdb: _blocks(cdb, (2, 4), (6, 4))),
    **dict.fromkeys((0x88, 0x8A, 0x8F, 0x93), lambda cdb: _blocks(cdb, (2, 8), (10, 4))),
    0x42: lambda cdb: f"regions={(_big(cdb, 7, 2) - 8 & 0xFFFFFFFF) // 16}",
    0x7F: _long,
    0x94: _action(_ZONES, lambda cdb: f"zone={_big(cdb, 2, 8)} all={_big(cdb, 14, 1) & 1}"),
    0x95: _action({0: "REPORT_ZONES"}, _zone_report),
    0x9E: _action(_SERVICE_IN, lambda cdb: f"lba={_big(cdb, 2, 8)} alloc_len={_big(cdb, 10, 4)}"),
    0xA3: _action(_IN, lambda cdb: f"alloc_len={_big(cdb, 6, 4)}"),
    0xA4: _action(_OUT, lambda cdb: f"alloc_len={_big(cdb, 6, 4)}"),
    _ATOMIC_WRITE: lambda _cdb: "(?scsi_trace_parse_cdb(0x9c))",
}


def _parse_cdb(compiler: Compiler, args: _Args) -> Text:
    """``scsi_trace_parse_cdb(p, cdb, len)``."""
    get = compiler.memory(args[1]).get

    def text(env: Env) -> str:
        cdb = get(env)
        command = _COMMANDS.get(_big(cdb, 0, 1))
        return command(cdb) if command else "-"

    return Text(text)


# -- others -----------------------------------------------------------------------------------

# blk_op_str(), block/blk-core.c: the operations whose numbers have not changed since 4.8; one whose
# number has not since 6.12; those of zones have, in stable kernels, too
_BLOCK = {
    0: "READ", 1: "WRITE", 2: "FLUSH", 3: "DISCARD", 5: "SECURE_ERASE", 9: "WRITE_ZEROES",
    34: "DRV_IN", 35: "DRV_OUT",
}  # fmt: skip
_APPEND = {7: "ZONE_APPEND"}
_ZONED = frozenset({10, 11, 12, 13, 15, 17, 19})
_OPERATIONS = 36  # REQ_OP_LAST, include/linux/blk_types.h, in all of them


def _operation(compiler: Compiler, args: _Args) -> Value:
    """``blk_op_str()``."""
    known = is_known(compiler.ctx.version)
    names = {**_BLOCK, **_APPEND} if known else _BLOCK
    unsure = _ZONED if known else range(_OPERATIONS)
    build, *_ = _named("blk_op_str", names, "UNKNOWN", lambda value, _version: value in unsure)
    return build(compiler, args)


# blk_zone_cond_str(), block/blk-zoned.c; for what has no name it gives that of an earlier call
_CONDITIONS = {
    0: "NOT_WP", 1: "EMPTY", 2: "IMP_OPEN", 3: "EXP_OPEN", 4: "CLOSED", 13: "READONLY", 14: "FULL",
    15: "OFFLINE",
}  # fmt: skip


def _is_any(_value: int, _version: Version) -> bool:
    return True


# ceph_mds_op_name(), ceph_cap_op_name(), fs/ceph/strings.c: numbers on the wire, ceph_fs.h
_CEPH_REQUESTS = {
    0x100: "lookup", 0x101: "getattr", 0x102: "lookuphash", 0x103: "lookupparent",
    0x104: "lookupino", 0x105: "lookupname", 0x106: "getvxattr", 0x110: "getfilelock",
    0x302: "open", 0x305: "readdir", 0x400: "lookupsnap", 0x402: "lssnap", 0x1105: "setxattr",
    0x1106: "rmxattr", 0x1107: "setlayou", 0x1108: "setattr", 0x1109: "setfilelock",
    0x110A: "setdirlayout", 0x1201: "mknod", 0x1202: "link", 0x1203: "unlink", 0x1204: "rename",
    0x1220: "mkdir", 0x1221: "rmdir", 0x1222: "symlink", 0x1301: "create", 0x1400: "mksnap",
    0x1401: "rmsnap", 0x1403: "renamesnap",
}  # fmt: skip
_CEPH_CAPABILITIES = dict(enumerate((
    "grant", "revoke", "trunc", "export", "import", "update", "drop", "flush", "flush_ack",
    "flushsnap", "flushsnap_ack", "release", "renew",
)))  # fmt: skip


def _is_of_others(_value: int, version: Version) -> bool:
    return not is_known(version)


# xen_hypercall_name(), arch/x86/xen/trace.c: include/xen/interface/xen.h
_HYPERCALLS = dict(enumerate((
    "set_trap_table", "mmu_update", "set_gdt", "stack_switch", "set_callbacks", "fpu_taskswitch",
    "sched_op_compat", "platform_op", "set_debugreg", "get_debugreg", "update_descriptor", "",
    "memory_op", "multicall", "update_va_mapping", "set_timer_op", "event_channel_op_compat",
    "xen_version", "console_io", "physdev_op_compat", "grant_table_op", "vm_assist",
    "update_va_mapping_otherdomain", "iret", "vcpu_op", "set_segment_base", "mmuext_op", "xsm_op",
    "nmi_op", "sched_op", "callback_op", "xenoprof_op", "event_channel_op", "physdev_op", "hvm_op",
    "sysctl", "domctl", "kexec_op",
)))  # fmt: skip


def _is_later_hypercall(value: int, _version: Version) -> bool:
    """Later ones (38 to 41), and those that an architecture names (48 to 55)."""
    return 38 <= value < 56


_KGSL = {  # kgsl_pwrstate_to_str(), drivers/gpu/msm/kgsl_pwrctrl.c: those that have not changed
    0: "NONE", 1: "INIT", 2: "ACTIVE", 4: "NAP", 8: "SLEEP", 0x10: "SUSPEND", 0x80: "SLUMBER",
}  # fmt: skip


# enum btree_id, fs/bcachefs/bcachefs_format.h: numbers on disk, of which later kernels have more
_BTREES = (
    "extents", "inodes", "dirents", "xattrs", "alloc", "quotas", "stripes", "reflink",
    "subvolumes", "snapshots", "lru", "freespace", "need_discard", "backpointers", "bucket_gens",
    "snapshot_trees", "deleted_inodes", "logged_ops", "rebalance_work", "subvolume_children",
    "accounting",
)  # fmt: skip
_MOST_BTREES = 63  # BTREE_ID_NR_MAX


def _is_later_btree(value: int, version: Version) -> bool:
    return value < _MOST_BTREES and (version is None or version > (6, 12))


def _side(axis: str) -> _Build:
    """``drm_rect_width()``, ``drm_rect_height()``, include/drm/drm_rect.h."""

    def build(compiler: Compiler, args: _Args) -> Value:
        rect = nodes.Cast(TypeName(("struct", "drm_rect"), 1), args[0])
        ends = (nodes.Member(rect, f"{axis}{end}") for end in (2, 1))
        return compiler.value(nodes.Binary("-", *ends))

    return build


def _sdma_flags(compiler: Compiler, args: _Args) -> Text:
    """``parse_sdma_flags(p, desc0, desc1)``, drivers/infiniband/hw/hfi1/trace.c, sdma.h."""
    first, second = (as_type(compiler.number(arg), U64).get for arg in args[1:])

    def text(env: Env) -> str:
        low, high = first(env), second(env)
        bits = (high >> 1 & 1, high & 1, low >> 63, low >> 62 & 1)
        flags = "".join(c if bit else "-" for c, bit in zip("IHFL", bits, strict=True))
        sizes = f" amode:{high >> 13 & 7} aidx:{high >> 8 & 31} alen:{high >> 4 & 15}"
        return flags + (sizes if low >> 63 else "")

    return Text(text)


def _page_request(compiler: Compiler, args: _Args) -> Text:
    """``decode_prq_descriptor(buffer, size, dw0, …, dw3)``, drivers/iommu/intel/iommu.h."""
    words = [as_type(compiler.number(arg), U64).get for arg in args[2:]]

    def text(env: Env) -> str:
        first, second, *private = (word(env) for word in words)
        bits = (second, second >> 1, first >> 52, first >> 53, second >> 2)
        flags = "".join(c if bit & 1 else "-" for c, bit in zip("rwxpl", bits, strict=True))
        rid, address = first >> 16 & 0xFFFF, second >> 12
        pasid, index = first >> 32 & 0xFFFFF, second >> 3 & 0x1FF
        more = f" private={private[0]:#x}/{private[1]:#x}\n" if first >> 9 & 1 else ""
        return f"rid={rid:#x} addr={address:#x} {flags} pasid={pasid:#x} index={index:#x}{more}"

    return Text(text)


def _is_power_state(value: int, _version: Version) -> bool:
    """A state is one of the low bits, ``KGSL_STATE_*`` (drivers/gpu/msm/kgsl_pwrctrl.h)."""
    return value < 1 << 12 and value.bit_count() == 1


# drivers/firmware/efi/cper.c, as the UEFI specification numbers them
_SEVERITIES = ("recoverable", "fatal", "corrected", "info")
_MEMORY_ERRORS = (
    "unknown", "no error", "single-bit ECC", "multi-bit ECC", "single-symbol chipkill ECC",
    "multi-symbol chipkill ECC", "master abort", "target abort", "parity error",
    "watchdog timeout", "invalid address", "mirror Broken", "memory sparing",
    "scrub corrected error", "scrub uncorrected error", "physical memory map-out event",
)  # fmt: skip


# -- irdma: drivers/infiniband/hw/irdma/trace.c, cm.h -----------------------------------------

_CONNECTION = (
    "UNKNOWN", "INITED", "LISTENING", "SYN_RCVD", "SYN_SENT", "ONE_SIDE_ESTABLISHED", "ESTABLISHED",
    "ACCEPTING", "MPAREQ_SENT", "MPAREQ_RCVD", "MPAREJ_RECVD", "OFFLOADED", "FIN_WAIT1",
    "FIN_WAIT2", "CLOSE_WAIT", "TIME_WAIT", "LAST_ACK", "CLOSING", "LISTENER_DESTROYED", "CLOSED",
)  # fmt: skip
_CONNECTING = (
    "none", "CmEstablished", "CmMPA_REQ", "CmMPA_CONNECT", "CmMPA_ACCEPT", "CmMPA_REJECT",
    "CmMPA_ESTABLISHED", "CmConnected", "CmReset", "CmAborted",
)  # fmt: skip
_print_ip, _IPV4, _IPV6 = READERS["I"], Conversion("p", suffix="I4"), Conversion("p", suffix="I6")
_IWARP = ("IwRequest", "IwReply", "IwEstablished", "IwDisconnect", "IwClose")


def _address(compiler: Compiler, args: _Args) -> Text:
    """``print_ip_addr(p, addr, port, ipv4)``."""
    get = compiler.memory(args[1]).get
    port, short = (as_type(compiler.number(arg), U16).get for arg in args[2:])

    def text(env: Env) -> str:
        where = int.from_bytes(port(env).to_bytes(2, "little"), "big")
        data = get(env)
        address = _print_ip(take(data, 4)[::-1], _IPV4) if short(env) else _print_ip(data, _IPV6)
        return f"{address}:{where}"

    return Text(text)


def _listed(
    name: str, names: tuple[str, ...], otherwise: str, first: int = 0
) -> tuple[_Build, int, int]:
    return _named(name, dict(enumerate(names, first)), otherwise)


#: name -> (function that compiles it, fewest arguments, most arguments)
KERNEL_CALLS: Mapping[str, tuple[_Build, int, int]] = {
    "scsi_trace_parse_cdb": (_parse_cdb, 3, 3),
    "blk_op_str": (_operation, 1, 1),
    "ceph_mds_op_name": _named("ceph_mds_op_name", _CEPH_REQUESTS, "???", _is_of_others),
    "ceph_cap_op_name": _named("ceph_cap_op_name", _CEPH_CAPABILITIES, "???", _is_of_others),
    "blk_zone_cond_str": _named("blk_zone_cond_str", _CONDITIONS, "", _is_any),
    "xen_hypercall_name": _named(
        "xen_hypercall_name",
        {number: name and f"({name})" for number, name in _HYPERCALLS.items()},
        "",
        _is_later_hypercall,
    ),
    "parse_sdma_flags": (_sdma_flags, 3, 3),
    "decode_prq_descriptor": (_page_request, 6, 6),
    "cper_severity_str": _listed("cper_severity_str", _SEVERITIES, "unknown"),
    "cper_mem_err_type_str": _listed("cper_mem_err_type_str", _MEMORY_ERRORS, "unknown"),
    "kgsl_pwrstate_to_str": _named("kgsl_pwrstate_to_str", _KGSL, "UNKNOWN", _is_power_state),
    "bch2_btree_id_str": _named(
        "bch2_btree_id_str", dict(enumerate(_BTREES)), "(unknown)", _is_later_btree
    ),
    "drm_rect_width": (_side("x"), 1, 1),
    "drm_rect_height": (_side("y"), 1, 1),
    "print_ip_addr": (_address, 4, 4),
    "parse_cm_state": _listed("parse_cm_state", _CONNECTION, "Bad state"),
    "parse_cm_event_type": _listed("parse_cm_event_type", _CONNECTING, "Unknown"),
    "parse_iw_event_type": _listed("parse_iw_event_type", _IWARP, "Unknown", 1),
    # include/sound/pcm.h
    "snd_pcm_direction_name": _named("snd_pcm_direction_name", {0: "Playback"}, "Capture"),
    # mc_event_error_type(), include/linux/edac.h: 2 and 3 are others since 4.12
    "mc_event_error_type": _named(
        "mc_event_error_type",
        {0: "Corrected", 1: "Uncorrected"},
        "Info",
        lambda value, _: value < 4,
    ),
}
