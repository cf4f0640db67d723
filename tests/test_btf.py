"""The BTF reader: a real kernel's, made ones, and damaged ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import btf_writer as w
from tests.support.traceable_kernels import BTF as REAL
from tracekit.btf import VOID, Btf, Member, kernel_types
from tracekit.errors import ParseError

# pahole -F btf -C STRUCT, Linux 7.2.13
PAHOLE = {
    "device kobj.name": Member(0, 0),
    "device init_name": Member(80 * 8, 0),
    "device driver": Member(104 * 8, 0),
    "device bus": Member(96 * 8, 0),
    "device_driver name": Member(0, 0),
    "pci_dev dev": Member(184 * 8, 0),
    "pci_dev is_busmaster": Member(1424 * 8 + 5, 1),
    "kimage start": Member(24 * 8, 0),
    "kimage segment": Member(64 * 8, 0),
    "kimage file_mode": Member(760 * 8 + 2, 1),
    "kexec_segment kbuf": Member(0, 0),  # inside an anonymous union
    "kexec_segment mem": Member(16 * 8, 0),
    "luo_session file_set": Member(88 * 8, 0),
}


def test_members_of_a_real_kernel_are_where_pahole_says() -> None:
    btf = Btf(REAL)
    assert {key: btf.member(*key.split()) for key in PAHOLE} == PAHOLE
    assert btf.size("kexec_segment") == 32
    assert btf.member("kimage", "segment.memsz") == Member((64 + 24) * 8, 0)
    assert btf.member("device", "nothing") is None
    assert btf.member("device", "kobj.nothing") is None
    assert btf.member("nothing", "name") is None
    assert btf.size("nothing") is None


def test_functions_of_a_real_kernel() -> None:
    btf = Btf(REAL)
    shutdown = btf.function("pci_device_shutdown")
    assert shutdown is not None and shutdown.returns == VOID
    assert [(name, btf.points_to(type_)) for name, type_ in shutdown.parameters] == [
        ("dev", "device")
    ]
    subtree = btf.function("kho_add_subtree")
    assert subtree is not None
    assert [name for name, _ in subtree.parameters] == ["name", "blob", "size"]
    assert subtree.returns != VOID
    assert btf.points_to(subtree.parameters[0][1]) == ""
    assert {f.name for f in btf.functions("shutdown")} == {
        name for name in w.FUNCTIONS if "shutdown" in name
    }
    assert btf.function("nothing") is None


def made() -> w.Writer:
    """void f(const struct thing *x); struct thing { u8 a:3; u8 b:5; struct { u32 deep[2]; }; }."""
    out = w.Writer()
    number = out.add(w.INT, "u32", 4, b"\x20\0\0\0")
    array = out.add(w.ARRAY, "", 0, number.to_bytes(4, "little") * 2 + b"\2\0\0\0")
    inner = out.members(w.STRUCT, "", 8, ("deep", array, 0, 0))
    thing = out.members(
        w.STRUCT, "thing", 12, ("a", number, 0, 3), ("b", number, 3, 5), ("", inner, 32, 0)
    )
    name = out.add(w.TYPEDEF, "thing_t", thing)
    pointer = out.add(w.PTR, "", out.add(w.CONST, "", name))
    out.function("f", 0, ("x", pointer))
    return out


def test_bit_fields_and_anonymous_members() -> None:
    btf = Btf(made().bytes())
    assert btf.member("thing", "a") == Member(0, 3)
    assert btf.member("thing", "b") == Member(3, 5)
    assert btf.member("thing", "deep") == Member(32, 0)
    f = btf.function("f")
    assert f is not None and btf.points_to(f.parameters[0][1]) == "thing"


def test_types_that_go_round_in_circles_end() -> None:
    out = w.Writer()
    out.add(w.TYPEDEF, "a", 2)
    out.add(w.CONST, "", 1)
    itself = out.members(w.STRUCT, "loop", 8, ("", 3, 0, 0))
    out.function("f", 0, ("x", out.add(w.PTR, "", 1)))
    btf = Btf(out.bytes())
    f = btf.function("f")
    assert itself == 3 and f is not None
    with pytest.raises(ParseError, match="round in circles"):
        btf.points_to(f.parameters[0][1])
    assert btf.member("loop", "x") is None


def test_endless_names_and_parameters_are_refused() -> None:
    out = w.Writer()
    out.function("f" * 600, 0)
    with pytest.raises(ParseError, match="no name of up to"):
        Btf(out.bytes()).function("g")
    out = w.Writer()
    out.function("f", 0, *[("", 0)] * 1000)
    with pytest.raises(ParseError, match="1000 parameters"):
        Btf(out.bytes()).function("f")


def test_a_struct_that_holds_itself_many_times_is_searched_once() -> None:
    out = w.Writer()
    out.members(w.STRUCT, "loop", 8, *[("", 1, 0, 0)] * 5000)
    assert Btf(out.bytes()).member("loop", "x") is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected magic"),
        (b"\x7fELF" + bytes(40), "not BTF's 0xeb9f"),
        (REAL[:20], "expected the header"),
        (REAL[:1000], "expected the types"),
        (REAL[:-1], "expected the strings"),
    ],
)
def test_what_is_no_btf_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ParseError, match=says):
        Btf(data, "btf")


def ask_everything(data: bytes) -> None:
    """Everything that is ever asked of BTF: an answer or a ParseError, nothing else."""
    try:
        btf = Btf(data)
        for function in btf.functions():
            for _, number in function.parameters:
                btf.points_to(number)
                btf.kind(number)
                btf.enumeration(number)
        for key in PAHOLE:
            btf.member(*key.split())
        btf.member("kimage", "segment.memsz")
        btf.member("thing", "deep")
        btf.size("kexec_segment")
    except ParseError:
        pass


@given(st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    ask_everything(data)
    ask_everything(made().bytes()[:24] + data)


@given(
    st.lists(
        st.tuples(st.integers(0, len(REAL) - 1), st.binary(min_size=1, max_size=4)), min_size=1
    )
)
def test_damaged_kernel_types(damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(REAL)
    for at, new in damage:
        data[at : at + len(new)] = new
    ask_everything(bytes(data))


@given(st.data())
def test_damaged_made_types(data: st.DataObject) -> None:
    whole = bytearray(made().bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    ask_everything(bytes(whole))


def test_the_kernels_types_are_taken_apart_once() -> None:
    assert kernel_types(REAL, "x") is kernel_types(bytes(bytearray(REAL)), "x")
    with pytest.raises(ParseError, match="another"):
        kernel_types(b"rubbish!" * 9, "another")
