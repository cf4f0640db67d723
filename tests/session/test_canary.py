"""The canary's pattern, what is found of it, and its file."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import ParseError
from tracekit.session.canary import (
    PAGE,
    Canary,
    Change,
    Findings,
    Physical,
    chunks,
    examine,
    read_document,
)

SEED = bytes(range(32))
PAGES = 300  # more than are filled at a time
SPANS = (Physical(0, 0x7000000, 2 * PAGE), Physical(2 * PAGE, 0x100000, (PAGES - 2) * PAGE))
CANARY = Canary(SEED.hex(), PAGES * PAGE, "luo", SPANS)
PATTERN = b"".join(data for _, data in chunks(SEED, CANARY.size))


def found_in(memory: bytes | bytearray) -> Findings:
    return examine(CANARY, lambda offset, size: bytes(memory[offset : offset + size]), "here")


def test_the_pattern() -> None:
    """It depends on seed and page alone, and no two pages are alike."""
    assert len(PATTERN) == CANARY.size
    pages = [PATTERN[at : at + PAGE] for at in range(0, len(PATTERN), PAGE)]
    assert len(set(pages)) == PAGES
    assert b"".join(data for _, data in chunks(SEED, 3 * PAGE)) == PATTERN[: 3 * PAGE]
    assert b"".join(data for _, data in chunks(b"other", PAGE)) != pages[0]
    assert found_in(PATTERN) == Findings("here")


def test_a_write_and_where_it_was() -> None:
    memory = bytearray(PATTERN)
    memory[PAGE + 8 : PAGE + 24] = bytes(b ^ 0xFF for b in memory[PAGE + 8 : PAGE + 24])
    memory[3 * PAGE] ^= 1
    findings = found_in(memory)
    assert (findings.changed, findings.places) == (17, 2)
    first, second = findings.changes
    assert (first.offset, first.address, first.size) == (PAGE + 8, 0x7000000 + PAGE + 8, 16)
    assert bytes.fromhex(first.expected) == PATTERN[PAGE + 8 : PAGE + 24]
    assert bytes.fromhex(first.found) == memory[PAGE + 8 : PAGE + 24]
    assert (second.offset, second.address, second.size) == (3 * PAGE, 0x100000 + PAGE, 1)


def test_a_write_across_pages_is_one() -> None:
    """Also across the pieces that are read at a time."""
    memory = bytearray(PATTERN)
    begin, end = 255 * PAGE + 100, 257 * PAGE + 100
    memory[begin:end] = bytes(b ^ 0xFF for b in memory[begin:end])
    findings = found_in(memory)
    assert (findings.changed, findings.places) == (2 * PAGE, 1)
    assert (findings.changes[0].offset, findings.changes[0].size) == (begin, 2 * PAGE)


def test_a_page_that_moved_is_recognised() -> None:
    memory = bytearray(PATTERN)
    memory[7 * PAGE : 8 * PAGE] = PATTERN[290 * PAGE : 291 * PAGE]
    memory[9 * PAGE : 10 * PAGE] = bytes(PAGE)
    moved, zeroed = found_in(memory).changes
    assert (moved.moved_from, zeroed.moved_from) == (290 * PAGE, None)


def test_many_writes_are_counted_and_some_described() -> None:
    memory = bytearray(PATTERN)
    for page in range(100):
        memory[page * PAGE + 50] ^= 0x80
    findings = found_in(memory)
    assert (findings.changed, findings.places, len(findings.changes)) == (100, 100, 64)


def test_memory_that_ends_early_has_changed() -> None:
    assert found_in(PATTERN[:-PAGE]).changed > PAGE * 9 // 10


SMALL = Canary(SEED.hex(), 4 * PAGE, "luo")
FEW = PATTERN[: SMALL.size]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, len(FEW) - 1), st.binary(min_size=1, max_size=99)),
                max_size=6))  # fmt: skip
def test_every_change_is_counted(writes: list[tuple[int, bytes]]) -> None:
    """No byte that differs is missed; a few that are equal in between belong to the same write."""
    memory = bytearray(FEW)
    for at, data in writes:
        memory[at : at + len(data)] = data
    del memory[len(FEW) :]
    differ = {i for i, (a, b) in enumerate(zip(memory, FEW, strict=True)) if a != b}
    findings = examine(SMALL, lambda offset, size: bytes(memory[offset : offset + size]), "here")
    assert len(differ) <= findings.changed <= 9 * len(differ)
    inside = {i for c in findings.changes for i in range(c.offset, c.offset + c.size)}
    assert differ <= inside and len(inside) == findings.changed


def test_the_file() -> None:
    changes = (Change(8, None, 2, "0102", "0304"), Change(PAGE, 5, PAGE, "ff", "00", 3 * PAGE))
    whole = Canary(SEED.hex(), PAGE, "carveout", SPANS, Findings("id", 9, 2, changes))
    assert read_document(whole.encode(), "f") == whole
    assert read_document(CANARY.encode(), "f") == CANARY
    problem = Canary(SEED.hex(), PAGE, "luo", (), Findings("id", problem="it did not come"))
    assert read_document(problem.encode(), "f") == problem


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=200)
@given(st.sampled_from(["seed", "size", "place", "physical", "findings"]), JSON)
def test_a_damaged_file(key: str, value: object) -> None:
    """Each part replaced by anything: what is read still makes sense."""
    document = json.loads(CANARY.encode())
    document[key] = value
    try:
        canary = read_document(json.dumps(document).encode(), "f")
    except ParseError as error:
        assert str(error).startswith("f: damaged:")
    else:
        assert canary.size % PAGE == 0 and 0 < len(bytes.fromhex(canary.seed)) <= 64
        assert all(0 <= span.address < 1 << 64 for span in canary.physical)
