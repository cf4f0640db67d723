from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.context import Symbolized
from tracekit.ftrace.symbols import Symbols

BASE = 0xFFFFFFFF81000000
KALLSYMS = f"""\
0000000000000000 A fixed_percpu_data
000000000001c000 D cpu_info
{BASE:016x} T startup_64
{BASE:016x} T _stext
{BASE:016x} T _text
{BASE + 0x100:016x} t first
{BASE + 0x100:016x} T first_alias
{BASE + 0x180:016x} T second.isra.0
{BASE + 0x200:016x} T _etext
{BASE + 0x1000:016x} T _sinittext
{BASE + 0x1040:016x} t early
{BASE + 0x1100:016x} T _einittext
{BASE + 0x2000:016x} b table
{BASE + 0x3000:016x} B _end
{BASE + 0x3000:016x} B __brk_limit
ffffffffc0000010 t $x\t[mod]
ffffffffc0000010 t mod_start\t[mod]
ffffffffc0000020 t $d.1\t[mod]
ffffffffc0000040 t mod_next\t[mod]
ffffffffc0000040 t mod_alias\t[mod]
ffffffffc0003000 d mod_data\t[mod]
ffffffffc0008000 t far\t[unlisted]
0000000000005020 d counter\t[mod]
ffffffffc0201000 t ftrace_trampoline\t[__builtin__ftrace]
ffffffffc0401014 t bpf_prog_1_probe\t[bpf]
ffffffffc0401114 t bpf_prog_2_probe\t[bpf]
"""
MODULES = "mod 8192 1 other, Live 0xffffffffc0000000 (O)\nother 1 0 - Live 0x0000000000000000\n"


@pytest.fixture(scope="module")
def symbols() -> Symbols:
    return Symbols.from_kallsyms(KALLSYMS, MODULES)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (BASE, ("startup_64", 0, 0x100, "")),  # the first of its aliases
        (BASE + 0x17F, ("first", 0x7F, 0x80, "")),
        (BASE + 0x180, ("second.isra.0", 0, 0x80, "")),
        (BASE + 0x1050, ("early", 0x10, 0xC0, "")),
        (BASE + 0x2FFF, ("table", 0xFFF, 0x1000, "")),
        (BASE + 0x3000, None),  # the image ends at _end
        (BASE - 1, None),
        (0x1C000, None),  # per-CPU offsets and absolute symbols are no addresses
        (0x5020, None),
        (0, None),
        ((1 << 64) - 1, None),
        (0xFFFFFFFFC000000F, None),  # in the module, before its first symbol
        (0xFFFFFFFFC0000010, ("mod_start", 0, 0x30, "mod")),
        (0xFFFFFFFFC0000041, ("mod_next", 1, 0x1FC0, "mod")),
        (0xFFFFFFFFC0002000, None),  # past what /proc/modules gives
        (0xFFFFFFFFC0003004, ("mod_data", 4, 0x1000, "mod")),  # outside it: to the page's end
        (0xFFFFFFFFC0008FFF, ("far", 0xFFF, 0x1000, "unlisted")),
        (0xFFFFFFFFC0009000, None),
        (0xFFFFFFFFC0201000, None),  # kallsyms_lookup() does not find trampolines
        (0xFFFFFFFFC0401020, ("bpf_prog_1_probe", 0xC, 0x100, "")),
        (0xFFFFFFFFC0401FFF, ("bpf_prog_2_probe", 0xEEB, 0xEEC, "")),
        (0xFFFFFFFFC0402000, None),
    ],
)
def test_lookup(symbols, address, expected):
    assert symbols.lookup(address) == (Symbolized(*expected) if expected else None)
    assert symbols.lookup(address) == (Symbolized(*expected) if expected else None)


def test_code(symbols):
    assert symbols.code("first_alias") == BASE + 0x100
    assert symbols.code("mod_next") == 0xFFFFFFFFC0000040
    assert symbols.code("mod_data") is None  # is no code
    assert symbols.code("startup_64") == BASE
    assert symbols.code("T _stext") is None
    assert symbols.code("_stex") is None
    assert symbols.code("") is None


def test_what_has_the_letter_of_code_and_is_none():
    lines = ((0, "_stext"), (2, "run"), (3, "_etext"), (5, "jiffies"), (6, "_sinittext"),
             (7, "start"), (8, "_einittext"), (9, "_edata"))  # fmt: skip
    table = Symbols.from_kallsyms("".join(f"{BASE + at:016x} T {name}\n" for at, name in lines))
    found = {name: table.code(name) for _, name in lines}
    assert found == {name: BASE + at if at not in (5, 9) else None for at, name in lines}


def test_a_name_in_a_line_that_is_no_symbol_has_no_address():
    text = f"x{BASE:016x} T a\n{BASE:016x} T  a\n{BASE:016x} T a b a\n{BASE + 1:016x} T a\n"
    assert Symbols.from_kallsyms(text).code("a") == BASE + 1
    assert Symbols.from_kallsyms(text[2:19]).code("a") is None


def test_a_line_that_never_ends_is_searched_once():
    assert Symbols.from_kallsyms(" a\t[" * 100_000).code("a") is None


def test_code_alone_without_kallsyms_all():
    """Without CONFIG_KALLSYMS_ALL there is no _end, and the kernel names code only."""
    lines = [line for line in KALLSYMS.splitlines() if line.split()[1] in "tT" or "_end" in line]
    text = "\n".join(line for line in lines if not line.endswith((" _end", "__brk_limit"))) + "\n"
    symbols = Symbols.from_kallsyms(text)
    assert symbols.lookup(BASE + 0x1FF) == Symbolized("second.isra.0", 0x7F, 0x80, "")
    assert symbols.lookup(BASE + 0x200) is None
    assert symbols.lookup(BASE + 0x1050) == Symbolized("early", 0x10, 0xC0, "")
    assert symbols.lookup(BASE + 0x1100) is None


def test_hidden_addresses_name_nothing():
    text = "".join(f"{0:016x} {line[17:]}\n" for line in KALLSYMS.splitlines())
    symbols = Symbols.from_kallsyms(text, MODULES)
    assert [symbols.lookup(a) for a in (0, BASE, 0xFFFFFFFFC0000010)] == [None] * 3
    assert symbols.code("first") is None


def test_without_stext_the_image_is_unknown():
    assert Symbols.from_kallsyms(KALLSYMS.replace("_stext", "stext")).lookup(BASE) is None


def test_a_cut_text(symbols):
    """Cut anywhere, what is left still gives no wrong name."""
    for end in range(0, len(KALLSYMS), 7):
        cut = Symbols.from_kallsyms(KALLSYMS[:end], MODULES)
        for address in (BASE, BASE + 0x17F, BASE + 0x1050, 0xFFFFFFFFC0000010):
            found, whole = cut.lookup(address), symbols.lookup(address)
            if found is not None and " B _end\n" in KALLSYMS[:end]:
                assert found.name == whole.name


def test_bytes_and_text_are_the_same():
    assert len(Symbols.from_kallsyms(KALLSYMS.encode())) == len(Symbols.from_kallsyms(KALLSYMS))
    assert len(Symbols.from_kallsyms(b"\xff\xfe\x00")) == 0


@given(st.text(alphabet="0123456789abcdef tTA_[]\t\nfoo", max_size=300), st.text(max_size=50))
def test_any_text_is_taken(text, modules):
    symbols = Symbols.from_kallsyms(text, modules)
    for address in (0, 0xF00, BASE, (1 << 64) - 1):
        symbols.lookup(address)
    symbols.code("foo")


#: A line of what is outside the image, as it is written.
EXTRA = re.compile(r"([0-9a-f]{16}) [!-~] ([!-~]+)\t\[([^\]\s]+)\]", re.ASCII)


@given(st.data())
def test_modules_against_the_slow_way(data):
    """Aliases, mapping symbols, trampolines, lines that are none; in any order."""
    places = st.sampled_from([*range(1 << 63, (1 << 63) + 40), 5, (1 << 64) - 1])
    names = st.sampled_from(["f", "g", "$x", ".Lf", "L0", "L1", "$"])
    modules = st.sampled_from(["mod", "gone", "bpf", "__builtin__ftrace", "", "m]", "m n"])
    entry = st.builds("{:016x} t {}\t[{}]".format, places, names, modules)
    lines = data.draw(st.lists(entry | st.sampled_from(["", "\t[", "x t y\t[mod]"]), max_size=30))
    symbols = Symbols.from_kallsyms("\n".join(lines), f"mod 24 1 - Live {1 << 63:#x}\n")
    seen: dict[int, tuple[str, str]] = {}
    for m in filter(None, map(EXTRA.fullmatch, lines)):
        if not m[2].startswith(("$", ".L", "L0")) and int(m[1], 16) >= 1 << 63:
            seen.setdefault(int(m[1], 16), (m[2], m[3]))
    for address in (5, *range((1 << 63) - 1, (1 << 63) + 45), (1 << 64) - 1):
        start = max((a for a in seen if a <= address), default=None)
        expected = None
        if start is not None:
            name, module = seen[start]
            listed = module == "mod" and start < (1 << 63) + 24
            end = (1 << 63) + 24 if listed else (start // 4096 + 1) * 4096
            end = min([end, *(a for a in seen if a > start)])
            if address < end and module != "__builtin__ftrace":
                shown = "" if module == "bpf" else module
                expected = Symbolized(name, address - start, end - start, shown)
        assert symbols.lookup(address) == expected


def naive(entries: list[tuple[int, str]], address: int) -> Symbolized | None:
    """kallsyms_lookup() for a kernel image, in the slowest way."""
    start, end = (next(a for a, n in entries if n == name) for name in ("_stext", "_end"))
    below = [a for a, _ in entries if a <= address]
    if not start <= address < end or not below:
        return None
    best = max(below)
    after = [a for a, _ in entries if a > best]
    name = next(n for a, n in entries if a == best)
    return Symbolized(name, address - best, min(after) - best, "")


@given(st.data())
def test_against_the_slow_way(data):
    offsets = data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=30).map(sorted))
    edges = data.draw(st.tuples(st.integers(0, 100), st.integers(101, 200)))
    named = [(BASE + o, f"f{i}") for i, o in enumerate(offsets)]
    named += [(BASE + edges[0], "_stext"), (BASE + edges[1], "_end")]
    named.sort(key=lambda e: e[0])
    symbols = Symbols.from_kallsyms("".join(f"{a:016x} t {n}\n" for a, n in named))
    for address in range(BASE - 2, BASE + 203):
        assert symbols.lookup(address) == naive(named, address)


def test_a_real_kernel(capture):
    text = (capture("same-boot-7.2") / "old/proc/kallsyms").read_bytes()
    symbols = Symbols.from_kallsyms(text)
    assert len(symbols) > 74_000
    address = symbols.code("do_sys_openat2")
    assert address is not None
    assert symbols.lookup(address + 4) == Symbolized("do_sys_openat2", 4, 0xD0, "")
