"""The picture of physical memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracekit.kho.picture import LEGEND, Span, draw, parse_iomem
from tracekit.kho.preserved_sum import Density

IOMEM = """00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-7ffd6fff : System RAM
  01000000-023fffff : Kernel code
  60000000-6fffffff : Crash kernel
100000000-17fffffff : System RAM
"""


def density(*ranges: tuple[int, int]) -> Density:
    found = Density()
    for start, size in ranges:
        found.add(start, start + size)
    return found


def test_iomem() -> None:
    assert parse_iomem(IOMEM)[1:4] == [
        Span("·", 0x100000, 0x7FFD7000), Span("K", 0x1000000, 0x2400000),
        Span("C", 0x60000000, 0x70000000),
    ]  # fmt: skip
    hidden = "00000000-00000000 : System RAM\n"
    assert parse_iomem(hidden) == []


def test_signs_are_where_they_belong() -> None:
    spans = [
        *parse_iomem(IOMEM),
        Span("s", 0x40000000, 0x48000000),
        Span("R", 0x7D600000, 0x7DA00000),
    ]
    picture = draw(spans, density((0x20000000, 16 << 20), (0x30000000, 4096), (1 << 32, 1 << 20)))
    signs = {
        address + i * picture.cell: sign
        for address, row in picture.rows
        for i, sign in enumerate(row)
    }  # fmt: skip
    assert picture.cell == 8 << 20
    for address, sign in {
        0x1000000: "K", 0x20000000: "█", 0x20800000: "█", 0x21000000: "·", 0x30000000: "░",
        0x40000000: "s", 0x60000000: "C", 0x7D000000: "R", 0x80000000: " ", 1 << 32: "▒",
        0x17F800000: "·",
    }.items():  # fmt: skip
        assert signs.get(address, " ") == sign, hex(address)
    text = "\n".join(picture.lines())
    assert "one sign is 8 MiB" in text and "preserved, less than a tenth" in text
    assert "…" in text  # the hole below 4 GiB


def test_a_terabyte_fits() -> None:
    spans = [Span("·", 0, 1 << 40), Span("s", 1 << 39, (1 << 39) + (9 << 30))]
    picture = draw(spans, density((1 << 38, 1 << 36)))
    assert picture.cell == 2 << 30 and len(picture.rows) == 16
    assert sum(row.count("s") for _, row in picture.rows) == 5
    assert sum(row.count("█") for _, row in picture.rows) == 32


def test_nothing_to_draw() -> None:
    assert draw([], None).lines() == []


@given(
    st.lists(st.builds(lambda sign, start, size: Span(sign, start, start + size),
                       st.sampled_from(sorted(LEGEND)), st.integers(0, (1 << 64) - 1),
                       st.integers(0, 1 << 63)), max_size=8),
    st.lists(st.tuples(st.integers(0, (1 << 63)), st.integers(1, 1 << 50)), max_size=4),
)  # fmt: skip
def test_any_ranges_make_a_picture_of_bounded_size(
    spans: list[Span], ranges: list[tuple[int, int]]
) -> None:
    picture = draw(spans, density(*ranges) if ranges else None)
    assert len(picture.rows) <= 96
    assert all(len(row) == 32 and set(row) <= set(LEGEND) for _, row in picture.rows)


@given(st.text(max_size=300))
def test_any_text_is_iomem(text: str) -> None:
    draw(parse_iomem(text), None)
