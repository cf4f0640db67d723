"""Structures in a record whose members print formats read, where no kernel has changed them.

A format says how large such a field is, not what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracekit.ftrace.kernel_printf.ctype import INT, TypeName
from tracekit.ftrace.print_fmt.fields import RecordFields
from tracekit.ftrace.print_fmt.nodes import Binary, Cast, Index, Member, Node, Num, Unary
from tracekit.ftrace.print_fmt.values import Unresolved

__all__ = ["member_of", "place_of"]

_SIZES = {"u8": 1, "u16": 2, "u32": 4, "int": 4}
_BYTE = TypeName(("u8",), 1)
_LONGEST = 3  # steps of a path: vl[0].dedicated


def _packed(*members: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """(path, offset and type) of members that follow one another, each given as ``type path``."""
    offset = 0
    for member in members:
        type_, path = member.split()
        yield path, (offset, type_)
        offset += _SIZES[type_]


_RXRPC = dict(_packed(  # net/rxrpc/ar-internal.h, protocol.h
    "u32 epoch", "u32 cid", "u32 callNumber", "u32 seq", "u32 serial", "u8 type", "u8 flags",
    "u8 userStatus", "u8 securityIndex", "u16 cksum", "u16 serviceId",
))  # fmt: skip

#: Where in the structure and of which type each member is, by its path.
_STRUCTS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    # include/drm/drm_rect.h
    "drm_rect": dict(_packed("int x1", "int y1", "int x2", "int y2")),
    # as the device has them: drivers/net/wireless/mediatek/mt7601u/mac.h
    "mt7601u_rxwi": dict(_packed(
        "u32 rxinfo", "u32 ctl", "u16 frag_sn", "u16 rate", "u8 unknown",
        "u8 zero[0]", "u8 zero[1]", "u8 zero[2]", "u8 snr", "u8 ant", "u8 gain", "u8 freq_off",
        "u32 resv2", "u32 expert_ant",
    )),
    "mt76_txwi": dict(_packed(
        "u16 flags", "u16 rate_ctl", "u8 ack_ctl", "u8 wcid", "u16 len_ctl",
    )),
    # drivers/infiniband/hw/hfi1/mad.h
    "buffer_control": dict(_packed(
        "u16 reserved", "u16 overall_shared_limit",
        *(f"u16 vl[{n}].{limit}" for n in range(32) for limit in ("dedicated", "shared")),
    )),
    "rxrpc_host_header": _RXRPC,
    "rxrpc_wire_header": _RXRPC,
    # include/uapi/linux/rxrpc.h: a structure for any address
    "sockaddr_rxrpc": {"transport": (8, "")},
    # include/uapi/linux/errqueue.h
    "sock_extended_err": dict(_packed(
        "u32 ee_errno", "u8 ee_origin", "u8 ee_type", "u8 ee_code", "u8 ee_pad", "u32 ee_info",
        "u32 ee_data",
    )),
}  # fmt: skip


def member_of(node: Node, fields: RecordFields) -> Node | None:
    """What reads a member that is known, of the structure's bytes; None of all others."""
    found = _found(node, fields)
    if found is None or not found[1]:
        return None
    there, type_ = found
    return Unary("*", Cast(TypeName((type_,), 1), there))


def place_of(node: Node, fields: RecordFields) -> Node:
    """What is the address of such a member; raises :class:`~.values.Unresolved` for all others."""
    found = _found(node, fields)
    if found is None:
        raise Unresolved("address")
    return found[0]


def _found(node: Node, fields: RecordFields) -> tuple[Node, str] | None:
    """(a member's address; its type, '' if it is a structure)."""
    path = ""
    for _ in range(_LONGEST):
        if not isinstance(node, Member | Index) or fields.record_field(node) is not None:
            break
        if isinstance(node, Member):
            path, node = f".{node.name}{path}", node.base
        elif isinstance(node.index, Num):
            path, node = f"[{node.index.value}]{path}", node.base
        else:
            return None
    found = _STRUCTS.get(_struct_name(node, fields), {}).get(path.removeprefix("."))
    if found is None:
        return None
    offset, type_ = found
    start = node if isinstance(node, Cast) else Unary("&", node)
    return Binary("+", Cast(_BYTE, start), Num(offset, INT)), type_


def _struct_name(node: Node, fields: RecordFields) -> str:
    """Of a field that is a structure, or of a cast to a pointer to one; of others ''."""
    words: tuple[str, ...] = ()
    if (field := fields.record_field(node)) is not None:
        words = () if field.loc else tuple(field.type.split())
    elif isinstance(node, Cast) and isinstance(node.type, TypeName) and node.type.stars == 1:
        words = node.type.words
    return words[1] if len(words) == 2 and words[0] == "struct" else ""
