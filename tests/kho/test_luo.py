"""The Live Update Orchestrator's data in every version, against a writer of its own."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.kho.fake_memory import PAGE, FakeMemory
from tests.support.kho.luo_writer import (
    Sessions,
    flbs,
    luo_features,
    luo_struct,
    luo_tree,
    memfd,
    sessions,
)
from tracekit.errors import Diagnostic, ParseError
from tracekit.kho.item import Item
from tracekit.kho.luo import LuoLists, parse_luo, read_luo
from tracekit.kho.luo_items import luo_items
from tracekit.kho.memory import nowhere

WANTED: Sessions = {
    "vm": [("memfd-v2", 0x1000, 1), ("vfio-pci-v1", 0x2000, 2), ("memfd-v2", 0x3000, 1 << 63)],
    "empty": [],
    "many": [("memfd-v1", n << 12, n) for n in range(200)],
    "x" * 63: [("nobody", 5, 0)],
}
Form = tuple[int, Callable[[int, int, int], bytes]]
FORMS: dict[str, Form] = {
    "session-v1": (1, lambda n, at, flb: luo_tree(n, at, "luo-session-v1", flb)),
    "session-v2": (2, lambda n, at, flb: luo_tree(n, at, "luo-session-v2", flb)),
    "v3": (3, lambda n, at, flb: luo_struct(n, at, flb, b"luo-v3")),
    "v4": (4, lambda n, at, flb: luo_struct(n, at, flb, b"luo-v4")),
    "v5": (5, luo_struct),
    "v5;block": (5, lambda n, at, flb: luo_struct(n, at, flb, b"luo-v5;block-v1")),
    "features": (5, luo_features),
}


def read(memory: FakeMemory, blob: bytes) -> tuple[LuoLists, list[Diagnostic]]:
    remarks: list[Diagnostic] = []
    header = parse_luo(blob, report=remarks.append)
    return read_luo(header, memory.read, report=remarks.append), remarks


def shown(found: LuoLists) -> dict[str, list[tuple[str, int, int]]]:
    assert found.sessions is not None
    return {s.name: [(f.compatible, f.data, f.token) for f in s.files] for s in found.sessions}


@pytest.mark.parametrize("form", FORMS)
def test_sessions_and_files_of_every_version(form: str) -> None:
    layout, write = FORMS[form]
    memory = FakeMemory()
    blob = write(3, sessions(memory, WANTED, layout), flbs(memory, [("pci-v2", 0x5000, 2)]))
    header = parse_luo(blob)
    assert header.updates == 3
    found, remarks = read(memory, blob)
    assert remarks == []
    names = {name: [] for name in WANTED} if layout == 1 else WANTED
    assert shown(found) == names
    assert found.sessions is not None and found.flbs is not None
    counts = [None if layout == 1 else len(files) for files in WANTED.values()]
    assert [s.count for s in found.sessions] == counts
    assert [(f.name, f.data, f.count) for f in found.flbs] == [("pci-v2", 0x5000, 2)]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_was_preserved(form: str) -> None:
    found, remarks = read(FakeMemory(), FORMS[form][1](1, 0, 0))
    assert (found.sessions, found.flbs, remarks) == ((), (), [])


@pytest.mark.parametrize("form", FORMS)
def test_memory_that_is_not_at_hand(form: str) -> None:
    header = parse_luo(FORMS[form][1](1, 0x7000, 0x8000))
    assert read_luo(header, nowhere) == LuoLists(None, None)


def test_a_version_to_come_is_read_as_the_nearest() -> None:
    memory = FakeMemory()
    for blob in (
        luo_struct(1, sessions(memory, WANTED, 5), 0, b"luo-v6"),
        luo_struct(1, sessions(memory, WANTED, 3), 0, b"luo-v2"),
    ):
        found, remarks = read(memory, blob)
        assert shown(found) == WANTED
        assert [r.code for r in remarks] == ["luo-version-unknown"]


def test_features_that_are_not_known() -> None:
    memory = FakeMemory()
    blob = bytearray(luo_features(1, sessions(memory, WANTED, 5)))
    struct.pack_into("<3Q", blob, 0, 0x17, 3, 0x17)
    remarks: list[Diagnostic] = []
    header = parse_luo(bytes(blob), report=remarks.append)
    assert header.feature_names == "number, sessions, flbs, unknown 0x10"
    assert [r.code for r in remarks] == ["luo-features-unknown"]


@pytest.mark.parametrize("blob", [b"", bytes(32), b"\xff" * 200, b"memfd-v1" * 8, bytes(4096)])
def test_what_is_none_of_it(blob: bytes) -> None:
    with pytest.raises(ParseError, match="no version of LUO"):
        parse_luo(blob)
    assert any(item.amiss for item in luo_items(blob, nowhere))


def test_lists_that_go_in_circles_or_say_too_much() -> None:
    memory = FakeMemory()
    at = memory.alloc()
    memory.write(at, struct.pack("<QQ64sQQ", at, 1, b"again", 0, 0))
    found, remarks = read(memory, luo_struct(1, at))
    assert list(shown(found)) == ["again"] and "twice" in remarks[0].message
    memory.write(at, struct.pack("<QQ", 0, 1 << 60))
    found, remarks = read(memory, luo_struct(1, at))
    assert found.sessions is None and remarks[0].code == "luo-list-damaged"
    memory.write(at, struct.pack("<QQ64sQQ", 0, 1, b"files", at, 1 << 60))
    assert shown(read(memory, luo_struct(1, at))[0]) == {"files": []}


def every(items: list[Item]) -> list[Item]:
    return [one for item in items for one in (item, *every(list(item.children)))]


def test_the_units_of_systemd() -> None:
    memory = FakeMemory()
    document = {"version": 1, "state": {}, "units": {"web.service": {"fdstore": [
        {"type": "fd", "name": "stored", "token": 1},
        {"type": "luo_session", "name": "own", "sessionName": "web"}]}}}  # fmt: skip
    token_map = memfd(memory, json.dumps(document).encode())
    wanted = {"systemd": [("memfd-v2", token_map, 0),
                          ("memfd-v2", memfd(memory, b"x" * 5000, seals=14), 1)]}  # fmt: skip
    blob = luo_struct(2, sessions(memory, wanted, 5))
    items = every(list(luo_items(blob, memory.read)))
    told = {(item.label, item.value) for item in items}
    assert ("web.service", "2 files") in told
    assert {("stored", "token 0x1"), ("own", "session web")} <= told
    assert ("token 0x1", "memfd-v2, 4.883 KiB") in told
    assert ("seals", "SHRINK, GROW, WRITE") in told
    assert not any(item.amiss for item in items)


@given(st.data())
def test_damage_raises_nothing_but_parse_errors(data: st.DataObject) -> None:
    layout, write = FORMS[data.draw(st.sampled_from(sorted(FORMS)))]
    memory = FakeMemory()
    small: Sessions = {"a": [("memfd-v2", memfd(memory, b"x" * 9000), 1)], "b": []}
    flb = flbs(memory, [("pci-v2", 0x100000, 1)])
    blob = bytearray(write(1, sessions(memory, small, layout), flb))
    pages = sorted(memory.pages)
    for _ in range(data.draw(st.integers(1, 5))):
        value = data.draw(st.integers(0, 255))
        at = data.draw(st.integers(0, len(blob) + len(pages) * PAGE - 1))
        if at < len(blob):
            blob[at] = value
        else:
            memory.pages[pages[(at - len(blob)) // PAGE]][at % PAGE] = value
    assert len(every(list(luo_items(bytes(blob), memory.read)))) < 50_000
