"""Tables without lines, for what people read."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

__all__ = ["PlainTable"]

_GAP = 2  # cells between columns
_JUSTIFY: dict[str, JustifyMethod] = {"n": "right"}
_OVERFLOW: dict[str, OverflowMethod] = {"b": "crop", "c": "ellipsis"}


class PlainTable(Table):
    """A table of rich's, which measures and wraps the cells only where they do not all fit.

    Columns are (name, kind): ``n`` numbers, never cut; ``t`` text, which wraps; ``c`` text, which
    is cut; ``b`` bars. Cells are ``str`` or rich's ``Text``. Without names there is no head.
    """

    def __init__(self, *columns: tuple[str, str]) -> None:
        super().__init__(
            box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim",
            show_header=any(name for name, _ in columns),
        )  # fmt: skip
        for name, kind in columns:
            self.add_column(
                name,
                justify=_JUSTIFY.get(kind, "left"),
                no_wrap=kind in "nc",
                overflow=_OVERFLOW.get(kind, "fold"),
            )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [[_text(c) for c in (column.header, *column.cells)] for column in self.columns]
        if any("\n" in cell.plain or "\t" in cell.plain for cells in columns for cell in cells):
            return super().__rich_console__(console, options)
        shown = columns if self.show_header else [cells[1:] for cells in columns]
        widths = [max((cell_len(c.plain) for c in cells), default=0) for cells in shown]
        if sum(widths) + _GAP * (len(widths) - 1) > options.max_width:
            return super().__rich_console__(console, options)
        return self._lines(console, columns, widths)

    def _lines(
        self, console: Console, columns: list[list[Text]], widths: list[int]
    ) -> Iterator[Segment]:
        """Every cell as it is, filled up to the width of its column."""
        styles = [self.header_style, *(row.style or "" for row in self.rows)]
        rows = list(zip(styles, *columns, strict=True))
        for style, *cells in rows if self.show_header else rows[1:]:
            base = console.get_style(style)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
                fill = Segment(" " * (width - cell_len(cell.plain)), base)
                right = self.columns[i].justify == "right"
                text = Segment.apply_style(cell.render(console), base)
                yield from (fill, *text) if right else (*text, fill)
                if i + 1 < len(widths):
                    yield Segment(" " * _GAP, base)
            yield Segment.line()


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell), end="")
