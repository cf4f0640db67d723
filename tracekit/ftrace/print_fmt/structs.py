"""Structures in a record whose members print formats read, where no kernel has changed them.

A format says how large such a field is, not what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracekit.ftrace.kernel_printf.ctype import INT, TypeName
from tracekit.ftrace.print_fmt.fields import RecordFields
from tracekit.ftrace.print_fmt.nodes import Binary, Cast, Index, Member, Node, Num, Unary

__all__ = ["member_of"]

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
}  # fmt: skip


def member_of(node: Node, fields: RecordFields) -> Node | None:
    """What reads a member that is known, of the structure's bytes; None of all others."""
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
    there = Binary("+", Cast(_BYTE, start), Num(offset, INT))
    return Unary("*", Cast(TypeName((type_,), 1), there))


def _struct_name(node: Node, fields: RecordFields) -> str:
    """Of a field that is a structure, or of a cast to a pointer to one; of others ''."""
    words: tuple[str, ...] = ()
    if (field := fields.record_field(node)) is not None:
        words = () if field.loc else tuple(field.type.split())
    elif isinstance(node, Cast) and isinstance(node.type, TypeName) and node.type.stars == 1:
        words = node.type.words
    return words[1] if len(words) == 2 and words[0] == "struct" else ""
