"""What libata and NVMe print of flags, status and commands in their events.

``drivers/ata/libata-trace.c``, ``drivers/nvme/host/trace.c``, as Linux 6.12 to 7.3 have them. Older
ones differ in some of it; what differs is marked, unless the release is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracekit.ftrace.kernel_printf.ctype import U8, U16, U32, IntType
from tracekit.ftrace.kernel_printf.pointers import c_text, hex_text, take
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.releases import is_known
from tracekit.ftrace.print_fmt.values import Env, Text, Undetermined, Value, as_type, text_of

__all__ = ["DISK_CALLS"]

_Args = tuple[nodes.Node, ...]
_Build = Callable[[Compiler, _Args], Value]
_Bits = Mapping[int, str]
_WORDS = 24  # bytes of a command that are printed


# -- libata -----------------------------------------------------------------------------------

_STATUS: _Bits = {
    0x80: "BUSY", 0x40: "DRDY", 0x20: "DF", 0x10: "DSC", 0x08: "DRQ", 0x04: "CORR", 0x02: "SENSE",
    0x01: "ERR",
}  # fmt: skip
_HOST_STATUS: _Bits = {0x4: "INTR", 0x2: "ERR", 0x1: "ACTIVE"}
_EH_ACTION: _Bits = {0x1: "REVALIDATE", 0x6: "RESET", 0x8: "ENABLE_LINK", 0x20: "PARK"}
_EH_ERROR: _Bits = {
    1 << bit: name
    for bit, name in enumerate((
        "DEV", "HSM", "TIMEOUT", "MEDIA", "ATA_BUS", "HOST_BUS", "SYSTEM", "INVALID", "OTHER",
        "NODEV_HINT", "NCQ",
    ))
}  # fmt: skip
_COMMAND: _Bits = {
    0x1: "ACTIVE", 0x2: "DMAMAP", 0x8: "IO", 0x10: "RESULT_TF", 0x20: "CLEAR_EXCL", 0x40: "QUIET",
    0x80: "RETRY", 0x10000: "FAILED", 0x20000: "SENSE_VALID", 0x40000: "EH_SCHEDULED",
}  # fmt: skip
_TASKFILE: _Bits = {
    0x1: "LBA48", 0x2: "ISADDR", 0x4: "DEV", 0x8: "WRITE", 0x10: "LBA", 0x20: "FUA", 0x40: "POLL",
}  # fmt: skip
#: Command -> (which argument says more, its bits, names)
_SUBCOMMANDS: Mapping[int, tuple[int, int, Mapping[int, str]]] = {
    0x65: (1, 0x5F, {1: "READ_LOG_DMA_EXT", 2: "ZAC_MGMT_IN"}),
    0x64: (1, 0x5F, {2: "WRITE_LOG_DMA_EXT", 0: "DATASET_MANAGEMENT"}),
    0x63: (0, 0xFF, {0: "ABORT_QUEUE", 5: "SET_FEATURES", 6: "ZERO_EXT", 7: "ZAC_MGMT_OUT"}),
    0x4A: (0, 0xFF, {0: "REPORT_ZONES"}),
    0x9F: (
        0, 0xFF, {1: "CLOSE_ZONE", 2: "FINISH_ZONE", 3: "OPEN_ZONE", 4: "RESET_WRITE_POINTER"},
    ),
}  # fmt: skip


def _in_braces(names: _Bits, value: int) -> str:
    return "{ " + "".join(f"{name} " for bits, name in names.items() if value & bits) + "}"


def _behind_number(names: _Bits, value: int) -> str:
    return f"{value:x}{_in_braces(names, value)}" if value else "0"


def _named(names: _Bits, type_: IntType, show: Callable[[_Bits, int], str]) -> _Build:
    """Bits by name."""
    return lambda compiler, args: text_of(
        as_type(compiler.number(args[1]), type_), lambda value: show(names, value)
    )


def _command_flags(compiler: Compiler, args: _Args) -> Text:
    known = is_known(compiler.ctx.version)

    def text(value: int) -> str:
        if value > 0xFF and not known:  # these have other names, or bits, in other kernels
            return f"(?libata_trace_parse_qc_flags({value:#x}))"
        return _behind_number(_COMMAND, value)

    return text_of(as_type(compiler.number(args[1]), U32), text)


def _subcommand(compiler: Compiler, args: _Args) -> Text:
    command, *more = (as_type(compiler.number(arg), U8).get for arg in args[1:])

    def text(env: Env) -> str:
        which, bits, names = _SUBCOMMANDS.get(command(env), (0, 0, {}))
        name = names.get(more[which](env) & bits) if names else None
        return f" {name}" if name else ""

    return Text(text)


# -- NVMe -------------------------------------------------------------------------------------


def _le(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(take(data[at:], size), "little")


def _fields(text: str, *places: tuple[int, int]) -> Callable[[bytes], str]:
    """A text with the little-endian numbers at these (place, size)."""
    return lambda data: text % tuple(_le(data, *place) for place in places)


def _at(data: bytes, place: int, low: int = 0, count: int = 8) -> int:
    """Some bits of a byte."""
    return _le(data, place, 1) >> low & (1 << count) - 1


def _format_nvm(data: bytes) -> str:
    lbaf = _at(data, 1) & 0x30 | _at(data, 0, 0, 4)
    return (
        f"lbaf={lbaf}, mset={_at(data, 0, 4, 1)}, pi={_at(data, 0, 5, 3)}, "
        f"pil={_at(data, 1, 0, 1)}, ses={_at(data, 1, 1, 3)}"
    )


def _set_features(data: bytes) -> str:
    return f"fid={_at(data, 0):#x}, sv={_at(data, 3) & 8:#x}, cdw11={_le(data, 4, 4):#x}"


def _get_features(data: bytes) -> str:
    return f"fid={_at(data, 0):#x}, sel={_at(data, 1, 0, 3):#x}, cdw11={_le(data, 4, 4):#x}"


_SENT: Mapping[int, str] = {
    1: "close zone", 2: "finish zone", 3: "open zone", 4: "reset zone", 5: "offline zone",
    16: "set zone descriptor extension",
}  # fmt: skip
_RECEIVED: Mapping[int, str] = {
    0: "list all zones",
    **{
        1 + number: f"list the zones in the {state} state"
        for number, state in enumerate((
            "ZSE: Empty", "ZSIO: Implicitly Opened", "ZSEO: Explicitly Opened", "ZSC: Closed",
            "ZSF: Full", "ZSRO: Read Only", "ZSO: Offline",
        ))
    },
    9: "list the zones that have the zone attribute",
}  # fmt: skip


def _zone_send(data: bytes) -> str:
    action = _at(data, 12)
    what = _SENT.get(action, "reserved")
    return f"slba={_le(data, 0, 8)}, zsa={action}:{what}, all={_at(data, 13)}"


def _zone_receive(data: bytes) -> str:
    field = _at(data, 13)
    return (
        f"slba={_le(data, 0, 8)}, numd={_le(data, 8, 4)}, zra={_at(data, 12)}, "
        f"zrasf={field}:{_RECEIVED.get(field, 'reserved')}, pr={_at(data, 14)}"
    )


def _authentication(length: str) -> Callable[[bytes], str]:
    return _fields(
        f"spsp0=%02x, spsp1=%02x, secp=%02x, {length}=%u", (1, 1), (2, 1), (3, 1), (4, 4)
    )


_QUEUE = ((0, 2), (2, 2), (4, 2), (6, 2))
_ADMIN: Mapping[int, Callable[[bytes], str]] = {
    0x00: _fields("sqid=%u", (0, 2)),
    0x01: _fields("sqid=%u, qsize=%u, sq_flags=0x%x, cqid=%u", *_QUEUE),
    0x04: _fields("cqid=%u", (0, 2)),
    0x05: _fields("cqid=%u, qsize=%u, cq_flags=0x%x, irq_vector=%u", *_QUEUE),
    0x06: _fields("cns=%u, ctrlid=%u", (0, 1), (2, 2)),
    0x09: _set_features,
    0x0A: _get_features,
    0x80: _format_nvm,
    0x86: _fields("slba=0x%x, mndw=0x%x, rl=0x%x, atype=%u", (0, 8), (8, 4), (12, 2), (15, 1)),
}
_READ_WRITE = _fields(
    "slba=%u, len=%u, ctrl=0x%x, dsmgmt=%u, reftag=%u", (0, 8), (8, 2), (10, 2), (12, 4), (16, 4)
)
_NVM: Mapping[int, Callable[[bytes], str]] = {
    **dict.fromkeys((0x01, 0x02, 0x08, 0x7D), _READ_WRITE),
    0x09: _fields("nr=%u, attributes=%u", (0, 4), (4, 4)),
    0x0E: lambda data: f"numd={_le(data, 0, 4)}, eds={_at(data, 4, 0, 1)}",
    0x79: _zone_send,
    0x7A: _zone_receive,
}
_RESERVATIONS = frozenset((0x0D, 0x11, 0x15))  # got names after 6.12
_FABRICS: Mapping[int, Callable[[bytes], str]] = {
    0: _fields("attrib=%u, ofst=0x%x, value=0x%x", (0, 1), (4, 4), (8, 8)),
    1: _fields(
        "recfmt=%u, qid=%u, sqsize=%u, cattr=%u, kato=%u", (0, 2), (2, 2), (4, 2), (6, 1), (8, 4)
    ),
    4: _fields("attrib=%u, ofst=0x%x", (0, 1), (4, 4)),
    5: _authentication("tl"),
    6: _authentication("al"),
}


def _parsed(
    name: str,
    commands: Mapping[int, Callable[[bytes], str]],
    stable: frozenset[int],
    unsure: frozenset[int] = frozenset(),
    words: str = "cdw10",
) -> tuple[_Build, int, int]:
    """A command's words, in hex where they are not taken apart; ``stable`` are one in all kernels.

    ``unsure`` are of none.
    """

    def build(compiler: Compiler, args: _Args) -> Text:
        opcode = as_type(compiler.number(args[1]), U8).get
        get, known = compiler.memory(args[2]).get, is_known(compiler.ctx.version)

        def text(env: Env) -> str:
            number, data = opcode(env), get(env)
            if number in unsure or not (known or number in stable):
                raise Undetermined(f"{name}({number:#x})")
            if show := commands.get(number):
                return show(data)
            return f"{words}={hex_text(take(data, _WORDS), ' ')}"

        return Text(text)

    return build, 3, 3


def _disk(compiler: Compiler, args: _Args) -> Text:
    """The name of a disk, where there is one."""
    get = compiler.memory(args[1]).get

    def text(env: Env) -> str:
        name = c_text(bytes(get(env)))
        return f"disk={name}, " if name else ""

    return Text(text)


def _controller(compiler: Compiler, args: _Args) -> Text:
    number = as_type(compiler.number(args[1]), U16)
    return text_of(number, lambda value: str(value or "_"))


#: name -> (function that compiles it, fewest arguments, most arguments)
DISK_CALLS: Mapping[str, tuple[_Build, int, int]] = {
    "libata_trace_parse_status": (_named(_STATUS, U8, _in_braces), 2, 2),
    "libata_trace_parse_host_stat": (_named(_HOST_STATUS, U8, _in_braces), 2, 2),
    "libata_trace_parse_eh_action": (_named(_EH_ACTION, U32, _behind_number), 2, 2),
    "libata_trace_parse_eh_err_mask": (_named(_EH_ERROR, U32, _behind_number), 2, 2),
    "libata_trace_parse_qc_flags": (_command_flags, 2, 2),
    "libata_trace_parse_tf_flags": (_named(_TASKFILE, U32, _behind_number), 2, 2),
    "libata_trace_parse_subcmd": (_subcommand, 4, 4),
    "nvme_trace_parse_admin_cmd": _parsed(
        "nvme_trace_parse_admin_cmd", _ADMIN, frozenset((0x00, 0x01, 0x04, 0x05, 0x06))
    ),
    "nvme_trace_parse_nvm_cmd": _parsed(
        "nvme_trace_parse_nvm_cmd", _NVM, frozenset((0x00, 0x04, 0x05, 0x09)), _RESERVATIONS
    ),
    "nvme_trace_parse_fabrics_cmd": _parsed(
        "nvme_trace_parse_fabrics_cmd", _FABRICS, frozenset((0, 1, 4)), words="specific"
    ),
    "nvmet_trace_ctrl_id": (_controller, 2, 2),
    **{f"{name}_trace_disk_name": (_disk, 2, 2) for name in ("nvme", "nvmet", "nullb")},
}
