"""Programs beside the evaluator: whatever a program prints is what the closures print."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ring.simple_decoder import records, region
from tests.support.text_records import CTX, HEADER, formats, make, printed
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.printers.render import make_renderer

FIELDS = ["signed char a@8:1:s", "unsigned char b@9:1", "short c@10:2:s", "u16 d@12:2",
          "int e@16:4:s", "unsigned int f@20:4", "long g@24:8:s", "unsigned long h@32:8",
          "u8 raw[16]@40:16", "char comm[16]@56:16", "__data_loc char[] name@72:4",
          "__data_loc u32[] words@76:4", "bool flag@80:1", "void * p@88:8"]  # fmt: skip
NAMES = ["a", "b", "c", "d", "e", "f", "g", "h", "flag"]
SIZE = 96
TYPES = ["char", "signed char", "u8", "s16", "u16", "int", "unsigned", "long", "u64", "bool"]
OPERATORS = ["+", "-", "*", "/", "%", "&", "|", "^", "==", "!=", "<", ">", "<=", ">=", "&&",
             "||", "<<", ">>"]  # fmt: skip
NUMBERS = [0, 1, 2, 7, 31, 64, 255, 65535, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1]

leaves = st.one_of(
    st.sampled_from([f"REC->{name}" for name in NAMES]),
    st.builds(
        lambda n, u: f"{n}{u}", st.sampled_from(NUMBERS), st.sampled_from(["", "U", "L", "UL"])
    ),
    st.sampled_from(
        ["REC->raw[3]", "((u16 *)REC->raw)[REC->b & 7]", "__get_dynamic_array_len(words)"]
    ),
    st.sampled_from(["((u32 *)__get_dynamic_array(words))[1]", "be32_to_cpup(REC->raw)"]),
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(OPERATORS)
    return st.one_of(
        st.builds(lambda a, o, b: f"({a} {o} {b})", inner, operators, inner),
        st.builds(lambda t, a: f"({t})({a})", st.sampled_from(TYPES), inner),
        st.builds(lambda o, a: f"{o}({a})", st.sampled_from("~!-+"), inner),
        st.builds(lambda a, b, c: f"({a} ? {b} : {c})", inner, inner, inner),
        st.builds(lambda a, b: f"({{ typeof({a}) x_ = {a}; x_ + {b}; }})", inner, inner),
        st.builds(lambda a: f"__builtin_popcount({a})", inner),
        st.builds(lambda a: f"__builtin_bswap32({a})", inner),
        st.builds(lambda a: f"ktime_to_us({a})", inner),
        st.builds(lambda a: f"hweight32({a})", inner),
        st.builds(lambda a: f"ERR_PTR({a})", inner),
        st.builds(lambda a, b: f"({a}, {b})", inner, inner),
    )


expressions = st.recursive(leaves, _grown, max_leaves=8)
flags = st.text("-+ #0", max_size=3)
sizes = st.sampled_from(["", "", "4", "20", ".3", "9.4", "*", ".*", "*.*"])
strings = st.sampled_from(
    ["REC->comm", "__get_str(name)", 'REC->e ? "yes" : "no"', '"literal"', "REC->p",
     '__print_flags(REC->f, "|", {1, "one"}, {6, "six"}, {0, "none"}, {1UL << 31, "top"})',
     '__print_symbolic(REC->b & 3, {0, "zero"}, {2, ""})',
     "__print_hex(REC->raw, REC->b & 31)", "__print_array(REC->raw, REC->b & 7, 4)",
     "__print_dynamic_array(words, 4)", "__get_bitmask(words)", "__print_hex_str(REC->raw, 5)",
     "unknown(REC->e, nothing)", "jiffies", 'REC->e ? REC->comm : "none"']
)  # fmt: skip
pointers = st.sampled_from(
    ["ph", "phC", "phD", "phN", "pM", "pMR", "pMF", "pmR", "pMU", "pI4", "pi4", "pI4h", "pI6",
     "pI6c", "pi6", "pUb", "pUl", "pUB", "pUL", "pb", "pbl", "pS", "ps", "pe", "px", "p", "pISpc"]
)  # fmt: skip


@st.composite
def print_formats(draw: st.DrawFn) -> str:
    """A print fmt of up to four conversions."""
    template, arguments = "", []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(sizes)
        arguments += [draw(leaves) for _ in range(size.count("*"))]
        kind = draw(st.sampled_from(["number", "string", "pointer", "c"]))
        if kind == "number":
            conversion = draw(st.sampled_from(["d", "u", "x", "X", "o", "ld", "lu", "hx", "hhd"]))
            arguments.append(draw(expressions))
        elif kind == "string":
            conversion = "s"
            arguments.append(draw(strings))
        elif kind == "pointer":
            conversion = draw(pointers)
            arguments.append(
                draw(st.sampled_from(["REC->raw", "REC->p", "&REC->h", "REC->raw + 4"]))
            )
        else:
            conversion = "c"
            arguments.append(draw(leaves))
        template += f" %{draw(flags)}{size}{conversion}"
    return ", ".join([f'"{template} 100%%"', *arguments])


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A record of the fields above, at times too short, its arrays at times beyond it."""
    body = draw(st.binary(min_size=SIZE - 8, max_size=SIZE - 8))
    tail = draw(st.binary(max_size=24))
    raw = bytearray(HEADER[:8] + body + tail)
    if draw(st.booleans()):
        raw[56:72] = draw(st.sampled_from([b"kexec", b"a\xffb", b"0123456789abcdef"])).ljust(
            16, b"\0"
        )
    if draw(st.booleans()):
        for at in (72, 76):
            raw[at : at + 4] = (SIZE | len(tail) << 16).to_bytes(4, "little")
    return bytes(raw[: draw(st.sampled_from([len(raw), len(raw), len(raw), 80, 20]))])


@settings(max_examples=400, deadline=None)
@given(print_formats(), st.lists(payloads(), min_size=1, max_size=6))
def test_any_format_and_any_record(print_fmt: str, some: list[bytes]) -> None:
    renderer = make_renderer(make(print_fmt, *FIELDS), CTX)
    printed(renderer, some)
    printed(renderer, some, "json")


@settings(max_examples=300, deadline=None)
@given(expressions, st.lists(payloads(), min_size=1, max_size=6))
def test_any_expression(expression: str, some: list[bytes]) -> None:
    renderer = make_renderer(make(f'"%ld %u", {expression}, {expression}', *FIELDS), CTX)
    assert renderer.program("args") is not None
    printed(renderer, some)


@pytest.fixture(scope="module")
def real(capture) -> list[EventFormat]:
    return list(formats(capture("same-boot-7.2") / "old").values())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_real_formats_and_any_record(real: list[EventFormat], data: st.DataObject) -> None:
    fmt = data.draw(st.sampled_from(real))
    some = data.draw(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
    printed(make_renderer(fmt, Context()), some)


def test_real_records_are_printed_by_programs(capture, real: list[EventFormat]) -> None:
    old = capture("same-boot-7.2") / "old"
    known = {fmt.id: make_renderer(fmt, Context()) for fmt in real}
    by_format: dict[int, list[bytes]] = {}
    for record in records(region(old)):
        number = int.from_bytes(record.payload[:2], "little")
        by_format.setdefault(number, []).append(record.payload)
    done = sum(printed(known[number], some, "line") for number, some in by_format.items())
    assert done > 0.95 * sum(map(len, by_format.values()))


USB = """xhci_decode_portsc(REC->f), xhci_decode_doorbell(REC->b, REC->f), ucsi_cmd_str(REC->h),
dwc3_decode_event(__get_buf(500), 500, REC->e, REC->d), dwc3_ep_cmd_status_string(REC->c),
usb_decode_ctrl(__get_buf(500), 500, REC->a, REC->b & 15, REC->c, REC->d, REC->e),
({ char *s; int n = REC->b & 3; switch (REC->a & 3) { case 0: switch (n) { case 1: s = "1x ";
break; default: s = "2x "; } break; case 1: case 2: s = REC->comm; break; default: s = ""; } s; })
""".replace("\n", " ")


@settings(max_examples=150, deadline=None)
@given(st.lists(payloads(), min_size=1, max_size=6))
def test_decoders_and_a_switch(some: list[bytes]) -> None:
    known = USB.replace("REC->comm", '"known"')
    whole = [raw for raw in some if len(raw) >= SIZE]
    renderer = make_renderer(make(f'"{"%s|" * 7}", {known}', *FIELDS), CTX)
    assert printed(renderer, whole) == len(whole)
    printed(make_renderer(make(f'"{"%s|" * 7}", {USB}', *FIELDS), CTX), some)


def test_a_decoder_of_more_than_a_program_can_look_up() -> None:
    call = "xhci_decode_trb(REC->e, REC->f, REC->e, REC->f)"
    renderer = make_renderer(make(f'"%s", {call}', *FIELDS), CTX)
    assert renderer.program("args") is None
    assert renderer.render(bytes(SIZE)).startswith("type 'UNKNOWN' -> raw 00000000")


PROBES = {
    "probes": make(
        '"(%lx) a=%d b=0x%Lx c=\'%c\' s=\\"%s\\" w={%u,%u} p=%pS t={\\"%s\\",\\"%s\\"}", x',
        "unsigned long __probe_ip@8:8", "s32 a@16:4:s", "u64 b@24:8", "u8 c@20:1",
        "__data_loc char[] s@32:4", "u16 w[2]@36:4", "u64 p@40:8", "__data_loc char[][2] t@48:8",
        system="probes"),
    "returns": make(
        '"(%lx <- %lx) a=%u", x', "unsigned long __probe_func@8:8",
        "unsigned long __probe_ret_ip@16:8", "u16 a@24:2", system="probes"),
    "synthetic": make(
        '"a=%d", x', "pid_t a@8:4:s", "u64 b@16:8", "char c[16]@24:16", "s16 d@40:2:s",
        "__data_loc char[] e@44:4", "gfp_t f@48:4", "bool g@52:1", system="synthetic"),
    "fields": make(
        '"x"', "u8 a@8:1", "int b@12:4:s", "u16 c@10:2", "char d[8]@16:8", "u64 e@24:8",
        "__rel_loc char[] f@32:4", "__data_loc u8[] g@36:4", "int h[2]@40:8",
        system="user_events"),
}  # fmt: skip
_places = st.sampled_from([0, 56, 64 | 3 << 16, 60 | 9 << 16, 16 | 8 << 16, 62 | 40 << 16])
_addresses = st.sampled_from([0, 7, 0xFFFFFFFF81000004, 0xFFFFFFFF81000200, 1 << 63, 3 << 40])


@st.composite
def probe_payloads(draw: st.DrawFn) -> bytes:
    """Records of those formats: words that are addresses or places of strings, or anything."""
    raw = bytearray(HEADER[:8] + draw(st.binary(min_size=72, max_size=72)))
    for at in range(8, 56, 8):
        if draw(st.booleans()):
            raw[at : at + 8] = draw(_addresses).to_bytes(8, "little")
    for at in (32, 36, 44, 48, 52):
        if draw(st.booleans()):
            raw[at : at + 4] = draw(_places).to_bytes(4, "little")
    if draw(st.booleans()):
        raw[56:] = draw(st.sampled_from([b"kexec\0", b"a\xffb", b"plain text, longer"])).ljust(
            24, b"\0"
        )
    return bytes(raw[: draw(st.sampled_from([80, 80, 80, 60, 20]))])


@pytest.mark.parametrize("name", PROBES)
@settings(max_examples=100, deadline=None)
@given(some=st.lists(probe_payloads(), min_size=1, max_size=6))
def test_probes_synthetic_and_user_events(name: str, some: list[bytes]) -> None:
    renderer = make_renderer(PROBES[name], CTX)
    assert renderer.program("line") is not None
    printed(renderer, some, "line")
    printed(renderer, some, "json")


def test_what_a_program_does_not_print() -> None:
    renderer = make_renderer(make('"%s %d", REC->comm, 7 / REC->e', *FIELDS), CTX)
    good = bytearray(HEADER[:8] + bytes(SIZE - 8))
    good[16] = 2
    good[56:61] = b"kexec"
    assert printed(renderer, [bytes(good)]) == 1
    for change in ({16: 0}, {56: 0xFF}):  # a division by zero; no ASCII
        bad = bytearray(good)
        for at, byte in change.items():
            bad[at] = byte
        assert printed(renderer, [bytes(bad), bytes(good)]) == 1
    assert printed(renderer, [bytes(good[:40]), b""]) == 0
