"""Arguments of recorded calls, as ``print_function_args()`` prints them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.context import Context, NoSymbols, Parameter, Symbolized
from tracekit.ftrace.printers.arguments import function_arguments

KNOWN, OF_MODULE, ELSEWHERE = 0x1000, 0x2000, 0x3000
WORDS = (1, 2**64 - 1, 0xFFFFFF9C, 0xCC0, 5, 6)


class Table(NoSymbols):
    """Two functions, one of a module."""

    def lookup(self, address: int) -> Symbolized | None:
        module = {KNOWN: "", OF_MODULE: "dm"}.get(address)
        return None if module is None else Symbolized("f", 0, 16, module)


class Takes:
    """The one function takes these."""

    def __init__(self, *parameters: Parameter) -> None:
        self.parameters = parameters

    def of(self, function: str) -> Sequence[Parameter] | None:
        assert function == "f"
        return self.parameters


def shown(
    *parameters: Parameter, words: Sequence[int] = WORDS, address: int = KNOWN, release: str = ""
) -> str:
    ctx = Context(Table(), prototypes=Takes(*parameters), release=release)
    arguments = function_arguments(ctx)
    return arguments(bytes(4) + struct.pack(f"<{len(words)}Q", *words), 4, address)


def test_each_kind() -> None:
    assert shown(
        Parameter("file", "PTR", 0), Parameter("off", "INT", 8), Parameter("dfd", "INT", 4),
        Parameter("flags", "UNSIGNED", 4), Parameter("mode", "ENUM", 4, {5: "FIVE", 7: "SEVEN"}),
        Parameter("other", "ENUM", 4, {5: "FIVE"}),
    ) == "(file=0x1, off=-1, dfd=4294967196, flags=0xcc0, mode=5 [FIVE], other=6)"  # fmt: skip
    assert shown() == "()"
    assert shown(Parameter("fmt", "PTR", 0), Parameter("", "UNKNOWN", 0)) == \
        "(fmt=0x1, =?0xffffffffffffffff)"  # fmt: skip


@pytest.mark.parametrize(
    ("release", "text"),
    [
        ("6.15.4", "(u=-1, m=4294967196)"),
        ("6.18.0-rc1", "(u=0xffffffffffffffff, m=4294967196)"),
        ("7.2.13", "(u=0xffffffffffffffff, m=4294967196 [OF_UNSIGNED])"),
        ("unknown", "(u=0xffffffffffffffff, m=4294967196 [OF_UNSIGNED])"),
    ],
)
def test_as_each_kernel_prints_them(release: str, text: str) -> None:
    mode = Parameter("m", "ENUM", 4, {0xFFFFFF9C: "OF_UNSIGNED"})
    assert shown(Parameter("u", "UNSIGNED", 8), mode, words=(*WORDS[1:], 7), release=release) \
        == text  # fmt: skip


def test_structs_take_several_registers_until_there_are_no_more() -> None:
    uid, large = Parameter("uid", "STRUCT", 4), Parameter("s", "STRUCT", 24)
    assert shown(uid, large, uid) == (
        "(uid=(STRUCT)[0x1], s=(STRUCT)[0xffffffffffffffff:0xffffff9c:0xcc0], uid=(STRUCT)[0x5])"
    )
    assert shown(large, uid, large, uid).endswith("s=(STRUCT)[0x5:0x6:...])")
    assert shown(*[uid] * 7).endswith(", uid=(STRUCT)[0x6], ...)")
    assert shown(Parameter("big", "ENUM64", 8)) == "(big=(ENUM64)[0x1])"


def test_what_is_not_known_are_all_words() -> None:
    plain = "(0x1, 0xffffffffffffffff, 0xffffff9c, 0xcc0, 0x5, 0x6)"
    one = Parameter("a", "PTR", 0)
    assert shown(one, address=OF_MODULE) == plain
    assert shown(one, address=ELSEWHERE) == "()"  # nor has the kernel a name for it
    assert shown(one, words=WORDS[:5]) == ""
    without = function_arguments(Context(Table()))
    assert without(struct.pack("<6Q", *WORDS), 0, KNOWN) == plain


@given(
    st.lists(st.tuples(st.sampled_from(["PTR", "INT", "ENUM", "STRUCT", "UNION", "FLOAT", "?"]),
                       st.integers(0, 1 << 40)), max_size=40),
    st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
)  # fmt: skip
def test_hostile_types(kinds: list[tuple[str, int]], words: list[int]) -> None:
    text = shown(*(Parameter("x", *one) for one in kinds), words=words)
    assert text.startswith("(") and text.endswith(")") and len(text) < 400
    assert text.count("x=") <= 6


@pytest.mark.parametrize("address", [KNOWN, OF_MODULE, ELSEWHERE])
def test_nothing_is_there_of_a_short_record(address: int) -> None:
    assert shown(Parameter("a", "PTR", 0), words=(), address=address) == ""
