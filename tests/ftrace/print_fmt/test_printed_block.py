"""Blocks that print into the line: as 6.12 writes them, as 7.2 does, and what is none."""

from __future__ import annotations

import struct

import pytest

from tests.support.text_records import make_format, printed
from tracekit.errors import FormatError
from tracekit.ftrace.context import Context
from tracekit.ftrace.print_fmt.addresses import address_fields
from tracekit.ftrace.print_fmt.parse import parse_expression
from tracekit.ftrace.printers.render import make_renderer

BEGIN = "({ const char *saved_ptr = trace_seq_buffer_ptr(p);"
EIGHT = '"---", "--x", "w--", "w-x", "-u-", "-ux", "wu-", "wux"'
SIXTEEN = ", ".join(f'"{n:04b}"' for n in range(16))
BLOCK = """{begin} static const char *access_str[] = {{ {strings} }}; union {union} role;
role.word = REC->role; trace_seq_printf(p, "l%u %u-byte q%u%s %s%s %snxe" " %sad%c", role.level,
role.has_4_byte_gpte ? 4 : 8, role.quadrant, role.direct ? " direct" : "",
access_str[role.access], role.invalid ? " invalid" : "", role.efer_nx ? "" : "!",
role.ad_disabled ? "!" : "", 0); saved_ptr; }})"""


def text_of(block: str, role: int) -> str:
    shown = f'"[%s] %x", {block.replace(chr(10), " ")}, REC->role'
    fmt = make_format("test", "e", [("__u32 role", 8, 4, False)], shown)
    renderer = make_renderer(fmt, Context())
    record = bytes(8) + struct.pack("<I", role)
    printed(renderer, [record])
    return renderer.render(record)


def block(strings: str, union: str = "kvm_mmu_page_role") -> str:
    return BLOCK.format(begin=BEGIN, strings=strings, union=union)


@pytest.mark.parametrize(
    ("strings", "role", "text"),
    [
        (EIGHT, 0, "l0 8-byte q0 --- !nxe ad"),
        (EIGHT, 4 | 1 << 4 | 2 << 5 | 1 << 7 | 5 << 8 | 1 << 12, "l4 4-byte q2 direct -ux nxe ad"),
        (EIGHT, 1 << 11 | 1 << 16, "l0 8-byte q0 --- invalid !nxe !ad"),
        (SIXTEEN, 9 << 8 | 1 << 13, "l0 8-byte q0 1001 nxe ad"),
        (SIXTEEN, 1 << 12 | 1 << 16, "l0 8-byte q0 0000 invalid !nxe !ad"),
    ],
)
def test_bit_fields_are_where_that_kernel_has_them(strings: str, role: int, text: str) -> None:
    assert text_of(block(strings), role) == f"[{text}] {role:x}"


@pytest.mark.parametrize(
    "unknown",
    [
        block('"a", "b"'),
        block(EIGHT, "another"),
        block(EIGHT).replace("role.word", "x.word"),
        block(EIGHT).replace("has_4_byte_gpte", "cr4_pae"),  # other kernels, with other bits
        block(EIGHT).replace("REC->role", "REC->role + 1"),
        block(EIGHT).replace("role.level", block(EIGHT)),
        block(EIGHT).replace("role.level", "1" + "+1" * 3000),
    ],
)
def test_what_no_kernel_has_is_marked(unknown: str) -> None:
    assert text_of(unknown, 5) == "[(?expression)] 5"


def test_a_bit_field_that_is_not_known_is_marked_alone() -> None:
    text = text_of(block(EIGHT).replace("role.quadrant", "role.cr0_wp"), 0)
    assert text == "[l0 8-byte q(?cr0_wp) --- !nxe ad] 0"


def test_addresses_in_a_block_are_known_as_such() -> None:
    shown = f'"%s", {BEGIN} trace_seq_printf(p, "gfn %llx", REC->gfn); saved_ptr; }})'
    fmt = make_format("test", "e", [("__u64 gfn", 8, 8, False)], shown)
    assert address_fields(fmt) == {"gfn"}


def test_more_than_one_print_and_none() -> None:
    two = f'{BEGIN} trace_seq_printf(p, "a%d,", 1); trace_seq_printf(p, "b"); saved_ptr; }})'
    assert text_of(two, 5) == "[a1,b] 5"
    assert text_of(f"{BEGIN} saved_ptr; }})", 5) == "[] 5"


@pytest.mark.parametrize(
    "wrong",
    [
        f"{BEGIN} other; }})",
        f'{BEGIN} trace_seq_printf(q, "a"); saved_ptr; }})',
        f"{BEGIN} static int x[] = {{ 1 }}; saved_ptr; }})",
        f"{BEGIN} role.bits = 1; saved_ptr; }})",
        f"{BEGIN} saved_ptr }})",
        BEGIN,
    ],
)
def test_what_is_beyond_the_grammar(wrong: str) -> None:
    with pytest.raises(FormatError):
        parse_expression(wrong)
