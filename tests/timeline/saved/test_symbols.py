"""The symbols of a boot: of its newest save and of earlier ones, and those that boots share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import tracekit
from tests.support.ring.region_writer import TEXT_ADDR
from tracekit.ftrace.symbols import KernelSymbols, Symbols, module_places
from tracekit.session import Session, SessionWriter
from tracekit.timeline.saved.symbols import LayeredSymbols

MODULES = 0xFFFFFFFFC0000000


def module(base: int, name: str, *symbols: str) -> str:
    return "".join(f"{base + 64 * i:016x} t {s}\t[{name}]\n" for i, s in enumerate(symbols))


def layered(kallsyms: Sequence[str], modules: Sequence[str]) -> LayeredSymbols:
    """Of texts, the newest first."""
    places = module_places("\n".join(modules))
    tables = [Symbols.from_kallsyms(text, places) for text in kallsyms[:1]]
    return LayeredSymbols(next(iter(tables), None), kallsyms[1:], places)


def test_a_module_at_the_place_of_another() -> None:
    """Where the newest has nothing, the one before it; never a mixture of two."""
    kallsyms = [
        module(MODULES, "new", "new_a", "new_b"),
        module(MODULES, "old", "old_a", "old_b", "old_c") + module(MODULES + 0x3000, "gone", "x"),
    ]
    modules = [
        f"new 4096 0 - Live 0x{MODULES:016x}\n",
        f"old 8192 0 - Live 0x{MODULES:016x}\ngone 4096 0 - Live 0x{MODULES + 0x3000:016x}\n",
    ]
    symbols = layered(kallsyms, modules)
    found = {at: symbols.lookup(MODULES + at) for at in (0, 70, 0x90, 0x1090, 0x3000, 0x4000)}
    assert {at: s.name if s else None for at, s in found.items()} == {
        0: "new_a", 70: "new_b", 0x90: "new_b", 0x1090: "old_c", 0x3000: "x", 0x4000: None,
    }  # fmt: skip


def test_a_module_that_was_loaded_twice_has_two_places() -> None:
    there, before = MODULES, MODULES + 0x10000
    symbols = layered(
        [module(there, "m", "f"), module(before, "m", "f")],
        [f"m 8192 0 - Live 0x{there:016x}\n", f"m 8192 0 - Live 0x{before:016x}\n"],
    )
    for base in (there, before):
        symbol = symbols.lookup(base + 0x1800)
        assert symbol is not None
        assert (symbol.name, symbol.offset) == ("f", 0x1800)


def test_no_symbols_at_all() -> None:
    assert layered([], []).lookup(TEXT_ADDR) is None


# -- boots of one kernel ------------------------------------------------------------------------

STOCK = "stock-6.12-carveout-tsc"
LINE = re.compile(r"^([0-9a-f]{16}) (\S) (\S+)", re.M)


def test_a_boot_knows_the_symbols_of_its_kallsyms(session: Callable[[str], Path]) -> None:
    """Both boots of a stock kernel, KASLR between them: as if each had its own file."""
    opened = Session.open(session(STOCK))
    assert len(opened.list("symbols/")) == 1
    for boot in tracekit.open(opened).boots:
        text = boot.text("kallsyms")
        whole = Symbols.from_kallsyms(text, boot.text("modules"))
        assert len(whole) > 1000
        lines = LINE.findall(text)
        shown = boot.context.symbols
        for address, _, name in lines:
            for at in (int(address, 16), int(address, 16) + 5):
                assert shown.lookup(at) == whole.lookup(at)
            assert shown.code(name) == whole.code(name)
        known = [shown.lookup(int(address, 16)) for address, kind, _ in lines if kind == "T"]
        assert sum(symbol is not None for symbol in known) > len(known) // 2


def chain(path: Path, starts: Sequence[int]) -> Session:
    """Boots of a kernel whose ``_text`` was at these addresses."""
    with SessionWriter.open(path) as writer:
        for boot, start in enumerate(starts):
            lines = f"{start:016x} T _text\n{start:016x} T _stext\n{start + 4096:016x} T _end\n"
            writer.write(f"boots/{boot}/kallsyms", lines.encode(), compressed=True)
            writer.write(f"boots/{boot}/kernel.json", b"{}")
            writer.add_boot(boot)
        writer.finish("snapshot")
    return Session.open(path)


def test_the_kernels_part_is_taken_apart_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(text: bytes) -> KernelSymbols:
        made.append(text)
        return KernelSymbols(text)

    monkeypatch.setattr("tracekit.timeline.saved.symbols.KernelSymbols", counted)
    starts = [0xFFFFFFFFA1200000, 0xFFFFFFFFA1200000 - (6 << 20)]
    for boot, start in zip(tracekit.open(chain(tmp_path / "S", starts)).boots, starts, strict=True):
        assert boot.context.symbols.lookup(start + 9) == ("_text", 9, 4096, "")
        assert boot.context.symbols.lookup(start + 4096) is None
    assert len(made) == 1


def test_a_chain_of_boots_does_not_hold_the_symbols_of_all(tmp_path: Path) -> None:
    starts = [0xFFFFFFFF81000000 + (n << 21) for n in range(12)]
    session = chain(tmp_path / "S", starts)
    assert len(session.list("symbols/")) == 1
    boots = tracekit.open(session).boots
    for _ in range(2):  # those that were let go of are read again
        for boot, start in zip(boots, starts, strict=True):
            assert boot.context.symbols.lookup(start + 7) == ("_text", 7, 4096, "")
        loaded = [boot.context.symbols._table is not None for boot in boots]
        assert loaded == [False] * 4 + [True] * 8
