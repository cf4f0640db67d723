"""Tables that fit are printed as rich would print them; those that do not are left to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tracekit.cli.printed.table import PlainTable

CELLS = st.text(st.sampled_from("ab é漢█→1,."), min_size=1, max_size=9).map(str.rstrip).filter(bool)
COLUMNS = st.lists(st.tuples(CELLS, st.sampled_from("ntcb")), min_size=1, max_size=5)
CONSOLE = Console(width=120, markup=False, highlight=False, emoji=False)


def lines(segments: list[Segment]) -> list[str]:
    return "".join(s.text for s in segments).split("\n")


def by_rich(table: PlainTable, width: int) -> list[str]:
    options = CONSOLE.options.update(max_width=width)
    return lines([*Table.__rich_console__(table, CONSOLE, options)])  # type: ignore[misc]


def ours(table: PlainTable, width: int) -> list[str]:
    options = CONSOLE.options.update(max_width=width)
    return lines([*table.__rich_console__(CONSOLE, options)])  # type: ignore[misc]


@given(COLUMNS, st.data())
def test_what_fits_is_as_rich_draws_it(columns: list[tuple[str, str]], data: st.DataObject) -> None:
    table = PlainTable(*columns)
    for _ in range(data.draw(st.integers(0, 4))):
        cells = data.draw(st.tuples(*(CELLS for _ in columns)))
        table.add_row(*(Text(cell) if i % 2 else cell for i, cell in enumerate(cells)))
    assert ours(table, 120) == by_rich(table, 120)


def test_what_does_not_fit_is_left_to_rich() -> None:
    table = PlainTable(("head", "n"), ("text", "t"))
    table.add_row("1,000", "some words that wrap")
    assert len(ours(table, 28)) == 3
    for width in (27, 12):
        assert ours(table, width) == by_rich(table, width)
    assert len(ours(table, 12)) > 3


def test_styles_of_rows_cells_and_heads() -> None:
    table = PlainTable(("head", "n"), ("", "t"))
    table.add_row("1", Text("red", "red").append(" dim", "dim"), style="bold")
    segments = [*table.__rich_console__(CONSOLE, CONSOLE.options)]
    styles = {s.text: str(s.style) for s in segments if isinstance(s, Segment) and s.text.strip()}
    assert styles == {"head": "dim", "1": "bold", "red": "bold red", " dim": "bold dim red"}
