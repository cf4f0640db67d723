"""``print fmt``: conversions, short records, and formats of no use."""

from __future__ import annotations

import struct

import pytest

from tests.support.text_records import HEADER, evaluate, make, show
from tracekit.errors import FormatError
from tracekit.ftrace.context import Context, Symbolized
from tracekit.ftrace.print_fmt.printer import TRUNCATED, compile_print_fmt, fallback

CONVERSIONS = [
    ("%d", "REC->u", "-1"),
    ("%u", "REC->i", "4294967295"),
    ("%hhu", "REC->h", "255"),
    ("%x", "REC->l", "fffffffe"),
    ("%lx", "REC->i", "f" * 16),
    ("%c%%", "'A'", "A%"),
    ("%c", "REC->b", "\\xc8"),
    ("%s", "REC->comm", "swapper"),
    ("%.3s", "REC->comm", "swa"),
    ("%10s|", "REC->comm", "   swapper|"),
    ("%-10s|", "REC->comm", "swapper   |"),
    ("%s", "__get_str(str)", "hi"),
    ("%s", "__get_rel_str(rel)", "rel"),
    ("%s", "REC->str", "hi"),
    ("%s", "REC->s", "known"),
    ("%s", "REC->l", "(efault)"),
    ("%s", "(char *)0", "(null)"),
    ("%s", "(char *)0xffff1230", "0xffff1230"),
    ("%s", 'REC->i ? "yes" : "no"', "yes"),
    ("%s", 'REC->t ? __get_str(str) : "none"', "hi"),
    ("%s", "REC->t ? REC->comm : __get_str(str)", "swapper"),
    ("%s", 'REC->t ? unknown_name : "x"', "(?unknown_name)"),
    ("%s", '!REC->t ? unknown_name : "x"', "x"),
    ("%p", "REC->t ? jiffies + 1 : (void *)0", "(?jiffies)"),
    ("%p", "!REC->t ? jiffies + 1 : (void *)0", "0" * 16),
    # a page is named by its offset in the array of struct page, 64 bytes each
    ("%p", "((struct page *)vmemmap_base) + 3", "00000000000000c0"),
    ("%p", "((struct page *)(0xffUL << 48) - (memstart_addr >> 12)) + 3", "00000000000000c0"),
    ("%p", "(struct other *)mem + 3", "(?mem)"),
    # of a condition inside an expression only one way is unknown
    ("%d", "(int)(REC->t ? REC->i : jiffies)", "-1"),
    ("%d", "1 + (REC->t ? jiffies : REC->i)", "(?jiffies)"),
    ("%s", '({ int x = REC->t ? 2 : jiffies; x == 2 ? "two" : "other"; })', "two"),
    ("%d", "jiffies_to_msecs(REC->t - 1)", "0"),
    ("%d", "((ktime_t) { .tv64 = REC->i }).tv64", "-1"),
    ("%d", "((ktime_t) { .tv64 = REC->i }).other", "(?other)"),
    ("%d", "ret", "1"),  # TRACE_TYPE_HANDLED, where an event's printer lacks its entry
    ("%s", "binder_command_strings[REC->t]", "BC_REPLY"),
    ("%s", "binder_command_strings[REC->b]", "(?200)"),
    ("%d", "REC->t < sizeof(binder_return_strings) / sizeof((binder_return_strings)[0])", "1"),
    ("%s", "blk_op_str(REC->t)", "WRITE"),
    ("%s", "blk_op_str(REC->b - 190)", "(?blk_op_str(10))"),
    ("%s", "blk_op_str(REC->b)", "UNKNOWN"),
    ("%s", "blk_op_str(REC->b + 100)", "UNKNOWN"),
    ("%s", "blk_op_str(REC->i)", "UNKNOWN"),
    ("%d", "__ffs(0)", "(?__ffs(0))"),
    ("%llu", "div_u64(1, 0)", "(?div_u64(1, 0))"),
    ("%s", "bch2_btree_id_str(REC->t)", "inodes"),
    ("%s", "bch2_btree_id_str(REC->b)", "(unknown)"),
    ("%s", "bch2_btree_id_str(REC->t + 20)", "(?bch2_btree_id_str(21))"),
    ("%s", "snd_pcm_direction_name(REC->t)", "Capture"),
    ("%s", "mc_event_error_type(REC->t)", "Uncorrected"),
    ("%s", "mc_event_error_type(REC->t + 1)", "(?mc_event_error_type(2))"),
    ("%s", "mc_event_error_type(REC->b)", "Info"),
    ("%s", "kgsl_pwrstate_to_str(REC->t + 1)", "ACTIVE"),
    ("%s", "kgsl_pwrstate_to_str(REC->t + 31)", "(?kgsl_pwrstate_to_str(32))"),
    ("%s", "kgsl_pwrstate_to_str(REC->t + 2)", "UNKNOWN"),
    ("%s", "kgsl_pwrstate_to_str(REC->i)", "UNKNOWN"),
    ("%p", "(void *)REC->ul", "f" * 15 + "d"),
    ("%s", "REC->i + 1", "(null)"),
    ("%d", '"text"', "(?string)"),
    ("%d", "mystery(REC->i, 2, jiffies)", "(?mystery(-1, 2, ?))"),
    ("%d", "mystery(REC->i) + 1", "(?mystery())"),
    ("%s", "REC->two", ""),
    ("%*ph", "3, REC->two", "00 01 02"),
    ("%*phN", "(int)REC->t + 2, REC->two", "000102"),
    ("%*pbl", "16, REC->arr", "1,3"),
    ("%.*s", "4, REC->comm", "swap"),
    ("%*d|%-*d|", "5, REC->i, 5, 7", "   -1|7    |"),
    ("%*d", "-5, REC->i", "-1   "),
    ("%*d", "REC->t, jiffies", "(?jiffies)"),
    ("%pI4", "REC->two", "0.1.2.3"),
    ("%pI4", "&REC->u", "255.255.255.255"),
    ("%pU", "REC->two", "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ("%pd", "REC->two", "(?address)"),
    ("%s", '__print_flags(REC->h & 5, "|", { 1, "A" }, { 4, "C" })', "A|C"),
    ("%s", '__print_flags(9, "", { 1, "A" })', "A0x8"),
    ("%s", '__print_flags(0, "|", { 1, "A" })', ""),
    ("%s", '__print_flags(3, "|", { { 1, "A" }, { 2, "B" } })', "A|B"),
    ("%s", '__print_flags(3, "|", { ODD, "A" }, { 2, "B" })', "B|(?0x1)"),
    ("%s", '__print_flags(3, "|", TABLE)', "0x3"),
    ("%s", '__print_symbolic(REC->i, { 1, "A" }, { -1, "minus" "!" })', "minus!"),
    ("%s", '__print_symbolic(5, { 1, "A" }, { ODD, "B" })', "(?0x5)"),
    ("%s", '__print_symbolic(REC->i, { 1, "A" })', "0x" + "f" * 16),
    ("%s", "__print_symbolic(REC->i, { -1, ((void *)0) })", "0x" + "f" * 16),
    ("%s", '__print_symbolic(2, { 2, "first" }, { 2, "second" })', "first"),
    ("%s", "__print_hex(REC->two, 3)", "00 01 02"),
    ("%s", "__print_hex_str(REC->two, 3)", "000102"),
    ("%s", "__print_hex_str(REC->two, 17)", TRUNCATED),
    ("%s", "__print_array(REC->arr, 3, 4)", "{0xa,0x14,0x1e}"),
    ("%s", "__print_array(REC->arr, 0, 4)", "{}"),
    ("%s", "__print_dynamic_array(dyn, sizeof(u16))", "{0x1,0x2,0x3}"),
    ("%s", "__get_bitmask(dyn)", "0003,00020001"),
    (
        "%s",
        '__print_hex_dump("p ", DUMP_PREFIX_OFFSET, 16, 1, REC->two, 4, 1)',
        "\np 00000000: 00 01 02 03" + " " * 38 + "....\n",
    ),
    (
        "%s",
        '__print_hex_dump("", DUMP_PREFIX_NONE, 16, 4, REC->two, 16, 0)',
        "\n03020100 07060504 0b0a0908 0f0e0d0c\n",
    ),
]


@pytest.mark.parametrize(("conversion", "expression", "expected"), CONVERSIONS)
def test_conversions(conversion, expression, expected):
    assert evaluate(expression, conversion) == expected


SCSI = [  # what scsi_trace_parse_cdb() prints, drivers/scsi/scsi_trace.c
    ("00 00 00 00 00 00", "-"),
    ("08 21 23 45 07 00", "lba=74565 txlen=7"),
    ("0a 00 00 01 00 00", "lba=1 txlen=(?256)"),
    ("28 40 00 00 10 00 00 00 08 00", "lba=4096 txlen=8 protect=2"),
    ("41 08 00 00 00 01 00 00 02 00", "lba=1 txlen=2 protect=0 unmap=1"),
    ("a8 00 80 00 00 00 00 01 00 00 00 00", "lba=2147483648 txlen=65536 protect=0"),
    ("88 00 00 00 00 01 00 00 00 00 00 00 00 20 00 00", "lba=4294967296 txlen=32 protect=0"),
    ("42 00 00 00 00 00 00 00 18 00", "regions=1"),
    ("9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", "READ_CAPACITY_16 lba=0 alloc_len=32"),
    ("9e 11 00 00 00 00 00 00 00 00 00 00 00 20 00 00", "UNKNOWN"),
    ("a3 0c 00 00 00 00 00 00 02 00 00 00", "REPORT_SUPPORTED_OPERATION_CODES alloc_len=512"),
    ("94 03 00 00 00 00 00 00 00 10 00 00 00 00 01 00", "OPEN_ZONE zone=16 all=1"),
    ("28 40 00", TRUNCATED),
    ("", TRUNCATED),
]


@pytest.mark.parametrize(("command", "expected"), SCSI)
def test_scsi_commands(command, expected):
    fmt = make('"%s", scsi_trace_parse_cdb(p, __get_dynamic_array(cmnd), REC->cmd_len)',
               "u32 cmd_len@8:4", "__data_loc unsigned char[] cmnd@12:4")  # fmt: skip
    cdb = bytes.fromhex(command)
    assert show(fmt, struct.pack("<II", len(cdb), 16 | len(cdb) << 16) + cdb) == expected


def test_scsi_commands_of_32_bytes():
    fmt = make('"%s", scsi_trace_parse_cdb(p, REC->cmnd, 32)', "u8 cmnd[32]@8:32")
    cdb = bytearray(32)
    cdb[0], cdb[9], cdb[10], cdb[19], cdb[23], cdb[31] = 0x7F, 0x0D, 0x28, 5, 6, 7
    expected = "WRITE_SAME_32 lba=5 txlen=7 protect=1 ei_lbrt=6 unmap=1"
    assert show(fmt, bytes(cdb)) == expected


def test_hex_of_kernels_before_3_9():
    fmt = make('"%s", ftrace_print_hex_seq(p, REC->two, 2)', "u8 two[4]@8:4")
    assert show(fmt, b"\x01\x02\x03\x04") == "01 02"


def test_hex_of_more_than_16_bytes():
    fmt = make('"%s", __print_hex(REC->all, 40)', "u8 all[40]@8:40")
    raw, plain = bytes(range(40)), bytes(range(40)).hex(" ")
    assert show(fmt, raw) == plain
    assert show(fmt, raw, Context(release="6.4.0")) == plain
    joined = raw[:16].hex(" ") + raw[16:32].hex(" ") + raw[32:].hex(" ")
    for release in ("5.4.0", "6.1.192"):
        assert show(fmt, raw, Context(release=release)) == joined


def test_strings_that_are_not_there():
    fmt = make('"%8s", REC->name', "const char * name@8:8")
    checked = Context(release="6.1.0")
    assert show(fmt, bytes(8), Context(release="5.10.1")) == "  (null)"
    assert show(fmt, bytes(8), checked) == "(0x0000000000000000)[UNSAFE-MEMORY]"
    assert show(fmt, struct.pack("<q", -2), checked) == "(0xfffffffffffffffe)[UNSAFE-MEMORY]"
    left = make('"%-8s|", REC->name', "const char * name@8:8")
    assert show(left, bytes(8), checked) == "(null)  |", "its loop ends at the minus"
    bounded = make('"%.*s|", REC->size, REC->name', "const char * name@8:8", "int size@16:4")
    assert show(bounded, bytes(12), checked) == "|"


def test_names_that_mean_something_in_one_system():
    call = '"%s", __print_symbolic(REC->a, { DATA, "DATA" }, { NODE, "NODE" })'
    for system, expected in (("f2fs", "NODE"), ("test", "(?0x1)")):
        assert show(make(call, "int a@8:4", system=system), b"\1\0\0\0") == expected


def test_what_the_printing_function_was_given():
    fmt = make('"%X", flags', "int a@8:4")
    assert show(fmt, bytes(4)) == "1"  # print-parent is on at boot
    on = Context(options=frozenset({"print-parent", "sym-addr", "overwrite"}))
    assert show(fmt, bytes(4), on) == "5"


def test_a_string_or_another():
    fmt = make('"%s", REC->name ?: "UNKN"', "const char * name@8:8")
    assert show(fmt, bytes(8)) == "UNKN"
    assert show(fmt, struct.pack("<Q", 0x5000), Context(printk_formats={0x5000: "reg"})) == "reg"


def test_an_expression_too_deep_costs_its_own_argument():
    fmt = make(f'"%d %d", REC->a, {"+".join(["REC->a"] * 500)}', "int a@8:4")
    assert show(fmt, b"\2\0\0\0") == "2 (?expression)"


def test_a_long_ladder_of_conditions():
    rungs = "".join(f"REC->a == {n} ? {n} : " for n in range(40))
    assert show(make(f'"%d", {rungs}-1', "int a@8:4"), b"\x27\0\0\0") == "39"
    rungs = "".join(f"REC->a == {n} ? {n} : " for n in range(200))
    assert show(make(f'"%d %d", REC->a, {rungs}-1', "int a@8:4"), bytes(4)) == "0 0"
    bits = "".join(f"64 & (1ULL << {n}) ? {n} : " for n in range(63, 0, -1))
    assert show(make(f'"%d", {bits}0', "int a@8:4"), bytes(4)) == "6"


def test_unresolved_jiffies_without_hz():
    fmt = make('"%u", jiffies_to_msecs(REC->a)', "u32 a@8:4")
    assert show(fmt, b"\x03\0\0\0") == "(?jiffies_to_msecs(3))"


def test_symbols():
    class Table:
        def lookup(self, address: int) -> Symbolized | None:
            return Symbolized("fn", address - 0x1000, 0x40, "") if address >= 0x1000 else None

    fmt = make('"%pS %ps %s", REC->a, REC->a, __get_stacktrace(b)', "void * a@8:8",
               "__data_loc unsigned long[] b@16:4")  # fmt: skip
    data = struct.pack("<QII2Q", 0x1010, 24 | 16 << 16, 0, 1, 0x1004)
    assert show(fmt, data, Context(Table())) == "fn+0x10/0x40 fn STACK:\n=> fn+0x4/0x40\n"


def test_probe_arrays_of_strings():
    fmt = make('"{\\"%s\\",\\"%s\\"}", __get_str(n[0]), __get_str(n[1])',
               "__data_loc char[][2] n@8:8")  # fmt: skip
    assert show(fmt, struct.pack("<2I", 16 | 2 << 16, 18 | 2 << 16) + b"a\0b\0") == '{"a","b"}'


def test_fields_that_overlap_and_disorder():
    fmt = make('"%d %d %d", REC->b, REC->a, REC->c', "u16 a@8:2", "u8 b@9:1", "u8 c@8:1")
    assert show(fmt, b"\x01\x02") == "2 513 1"


def test_short_records_say_so_and_keep_the_rest():
    fmt = make('"a=%d b=%s c=%03d %s", REC->a, REC->b, REC->c, __get_str(d)', "int a@8:4:s",
               "char b[8]@12:8", "int c@20:4:s", "__data_loc char[] d@24:4")  # fmt: skip
    data = struct.pack("<i8siI", 5, b"x", 7, 28 | 3 << 16) + b"ok\0"
    whole = [show(fmt, data[:n]) for n in range(len(data) + 1)]
    assert whole[-1] == "a=5 b=x c=007 ok"
    assert whole[16] == f"a=5 b=x c=007 {TRUNCATED}"
    assert whole[12] == f"a=5 b=x c={TRUNCATED} {TRUNCATED}"
    assert whole[0] == f"a={TRUNCATED} b={TRUNCATED} c={TRUNCATED} {TRUNCATED}"


def test_fallback_lists_the_fields():
    fmt = make('"%d", (', "int a@8:4:s", "void * p@12:8", "char b[4]@20:4", "u16 h[2]@24:4",
               "__data_loc char[] d@28:4", "struct x s@32:3")  # fmt: skip
    with pytest.raises(FormatError):
        compile_print_fmt(fmt, Context())
    render = fallback(fmt, Context())
    data = struct.pack("<iQ4s2HI3s", -5, 0xABC, b"hey\0", 1, 2, 35 | 3 << 16, b"\1\2\3") + b"ok\0"
    assert render(HEADER + data) == (" a=-5 p=0xabc b=hey h={0x1,0x2} d=ok s={0x1,0x2,0x3}")
    assert render(b"").count(TRUNCATED) == 6
    assert fallback(make('""'), Context())(b"") == ""


@pytest.mark.parametrize(
    "print_fmt",
    ['"%d"', '"%n", REC->a', '"%d", (1', "REC->a", '"%s", __get_str()'],
)
def test_print_formats_of_no_use(print_fmt):
    with pytest.raises(FormatError):
        compile_print_fmt(make(print_fmt, "int a@8:4:s"), Context())


def test_strings_that_nobody_is_trusted_with():
    call = "__trace_print_untrusted_str(p, __get_str(name), __get_dynamic_array_len(name) - 1)"
    fmt = make(f'"%s", {call}', "__data_loc char[] name@8:4")

    def shown(name: bytes) -> str:
        return show(fmt, struct.pack("<I", 12 | len(name) + 1 << 16) + name + b"\0")

    assert shown(b"/a b=c\n\"\\'\x00\xe9\x1b") == '/a\\040b\\075c\\n\\"\\\\\\047\\000\\351\\e'
    assert shown(b"x" * 6116) == "x" * 6116
    assert shown(b"x" * 6117) == "x" * 6113 + "…"
    assert shown(b"x" * 6111 + b"   ") == "x" * 6111 + "…"


def test_members_of_structures_of_rxrpc():
    fmt = make('"%x %u %pISp", ntohl(REC->hdr.cid), REC->hdr.flags, &REC->srx.transport',
               "struct rxrpc_wire_header hdr@8:28", "struct sockaddr_rxrpc srx@36:36")  # fmt: skip
    header = struct.pack("<I", 1) + struct.pack(">I", 0xABC) + bytes(13) + b"\x07" + bytes(6)
    address = bytes(8) + struct.pack("<H", 2) + struct.pack(">H", 7001) + bytes([10, 0, 0, 1])
    assert show(fmt, header + address.ljust(36, b"\0")) == "abc 7 10.0.0.1:7001"
