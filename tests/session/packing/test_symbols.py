"""Symbols that boots of a kernel share: what is read is what was saved, or is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import SessionError
from tracekit.session import Session, SessionWriter
from tracekit.session.packing.symbols import HOME, own_of, parted
from tracekit.session.packing.symbols import SHARED as ENDING

BOOT = "boots/0/kallsyms"
MIB = 1 << 20

offsets = st.integers(0, (1 << 30) - 1) | st.sampled_from([0, 1, MIB - 1, MIB])
lines = st.lists(
    st.tuples(st.booleans(), offsets, st.sampled_from("tTdA"), st.sampled_from(["a", "b.x", "_c"])),
    max_size=20,
)
bases = st.integers(1, 0xFFFFFFFFC).map(lambda n: n << 28) | st.integers(0, 400).map(
    lambda n: HOME + n * MIB
)


def kallsyms(base: int, symbols: list[tuple[bool, int, str, str]], own: str = "") -> bytes:
    """``symbols``: (whether it moves, its offset in the image, letter, name)."""
    made = [f"{base:016x} T _text"]
    made += [
        f"{base + at if moves else at:016x} {kind} {name}" for moves, at, kind, name in symbols
    ]
    return ("\n".join(made) + "\n" + own).encode()


def whole(rel: str, text: bytes) -> bytes:
    """What is read of what was stored of a text."""
    shared = parted(rel, text)
    assert shared is not None
    own = own_of(rel, rel + ENDING, shared.own)
    assert own is not None
    assert own.name == shared.name
    return own.whole(shared.kernel)


@given(lines, bases, bases)
def test_the_kernels_part_is_the_same_wherever_it_was(
    symbols: list[tuple[bool, int, str, str]], one: int, other: int
) -> None:
    own = "ffffffffc0000000 t f\t[m]\n"
    texts = [kallsyms(base, symbols, own * n) for n, base in enumerate((one, other))]
    assert [whole(BOOT, text) for text in texts] == texts
    kernels = {shared.kernel for text in texts if (shared := parted(BOOT, text))}
    assert len(kernels) == 1


@given(
    st.binary(max_size=400) | st.text("0123456789abcdef T_ext\n\t[m]", max_size=400).map(str.encode)
)
def test_any_text_comes_back_or_is_stored_plainly(text: bytes) -> None:
    for more in (text, kallsyms(HOME + 2 * MIB, []) + text, text + kallsyms(HOME + 2 * MIB, [])):
        if parted(BOOT, more) is not None:
            assert whole(BOOT, more) == more


@pytest.mark.parametrize(
    ("rel", "text"),
    [
        ("boots/0/earlier/kallsyms", kallsyms(HOME, [])),
        (BOOT, kallsyms(0, [])),  # hidden
        (BOOT, b"ffffffff81000000 T _stext\n"),
        (BOOT, kallsyms(HOME + 1, [])),  # no place for a kernel
        (BOOT, kallsyms(HOME + (2 << 30), [(False, HOME + 5, "A", "a")])),  # where it would move to
    ],
)
def test_what_cannot_be_moved_is_stored_plainly(rel: str, text: bytes) -> None:
    assert parted(rel, text) is None


@given(
    st.dictionaries(
        st.sampled_from(["symbols", "text_address"]),
        st.none() | st.integers() | st.text(max_size=60)
        | st.sampled_from([f"symbols/{'0' * 32}/kallsyms", "0xffffffff81000000", "0x1", "-0x100000",
                           "symbols/../kallsyms", hex((1 << 64) - MIB)]),
    ) | st.lists(st.integers())
)  # fmt: skip
def test_a_file_that_names_no_symbols_is_refused(about: object) -> None:
    data = json.dumps(about).encode() + b"\n"
    try:
        own = own_of(BOOT, BOOT + ENDING, data)
    except SessionError:
        return
    assert own is not None
    assert own.name == f"symbols/{'0' * 32}/kallsyms"
    assert 0 < HOME + own.moved < 1 << 64


# -- in a session -------------------------------------------------------------------------------

TEXTS = [
    kallsyms(HOME + n * 2 * MIB, [(True, 64, "t", "a"), (False, 64, "A", "b")] * 500, "x\t[m]\n")
    for n in (0, 7, 9)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three boots of a kernel."""
    with SessionWriter.open(tmp_path / "S") as writer:
        for boot, text in enumerate(TEXTS):
            writer.write(f"boots/{boot}/kallsyms", text, compressed=True)
            writer.write(f"boots/{boot}/kernel.json", b"{}")
            writer.add_boot(boot)
        writer.finish("snapshot")
    return tmp_path / "S"


def test_boots_of_a_kernel_share_its_symbols(path: Path) -> None:
    session = Session.open(path)
    assert [session.read(f"boots/{boot}/kallsyms") for boot in session.boots] == TEXTS
    assert len(session.list("symbols/")) == 1
    assert session.has(BOOT)
    assert BOOT in session.list("boots/0/")
    assert json.loads((path / "manifest.json").read_bytes())["format_version"] == 3
    with SessionWriter.open(path) as writer:
        assert writer.read("boots/1/kallsyms") == TEXTS[1]
        writer.shift_boots(1)
        writer.write("boots/1/kallsyms", TEXTS[2], compressed=True)
        writer.write("boots/1/kernel.json", b"{}")
        writer.add_boot(1)
        writer.finish("snapshot")
    session, now = Session.open(path), [TEXTS[0], TEXTS[2], *TEXTS[1:]]
    assert [session.read(f"boots/{boot}/kallsyms") for boot in session.boots] == now
    assert not session.diagnostics


def test_what_a_killed_run_left_is_listed_anew(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        assert writer.manifest.state == "writing"  # and is left so
    with SessionWriter.open(path) as writer:
        assert writer.read("boots/2/kallsyms") == TEXTS[2]
        writer.finish("snapshot")
    assert not Session.open(path).diagnostics


def test_symbols_that_are_gone_or_damaged(path: Path) -> None:
    (stored,) = path.glob("symbols/*/kallsyms.*")
    data = stored.read_bytes()
    stored.write_bytes(data[:-9])
    with pytest.raises(SessionError, match="damaged"):
        Session.open(path).read(BOOT)
    shutil.rmtree(stored.parent)
    session = Session.open(path)
    with pytest.raises(SessionError, match="is missing from the session"):
        session.read(BOOT)
    assert [d.code for d in session.diagnostics] == ["session-file-missing"]
    with SessionWriter.open(path) as writer:
        assert writer.read(BOOT) is None
        writer.write(BOOT, TEXTS[0], compressed=True)
        assert writer.read(BOOT) == TEXTS[0]


def test_symbols_that_name_themselves(path: Path) -> None:
    """A file of symbols is never one that refers to another."""
    (stored,) = path.glob("symbols/*/kallsyms.*")
    (own,) = path.glob("boots/0/kallsyms.*")
    stored.unlink()
    shutil.copy(own, stored.with_name(own.name))
    assert TEXTS[0] != Session.open(path).read(BOOT)
