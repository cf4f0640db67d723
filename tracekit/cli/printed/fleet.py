"""A fleet's report as people read it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from tracekit.cli.printed.table import PlainTable
from tracekit.fleet.answers import HEADS, Report, cell, sentence
from tracekit.text import on_one_line, printable

__all__ = ["render_fleet"]

_MOST = 40  # rows of a table


def render_fleet(report: Report, console: Console) -> None:
    """What is suspected first, then a table a question."""
    for one in report.suspects:
        console.print(Text(printable(on_one_line(sentence(one))), style="bold red"))
    if not report.suspects:
        console.print(Text("nothing is slower than its peers beyond noise", style="bold"))
    for name, (title, columns) in HEADS.items():
        rows = report.answers.get(name)
        if not rows:
            continue
        console.print()
        console.print(Text(title, style="bold"))
        heads = (column.removesuffix("_ns").replace("_", " ") for column in columns)
        kinds = ("n" if column.endswith("_ns") else "t" for column in columns)
        table = PlainTable(*zip(heads, kinds, strict=True))
        for row in rows[:_MOST]:
            table.add_row(*(on_one_line(cell(c, row[c])) for c in columns))
        console.print(table)
        if len(rows) > _MOST:
            left = f"  … and {len(rows) - _MOST} more: --json has them all"
            console.print(Text(left, style="dim"))
    if report.bad:
        console.print()
        console.print(Text("Sessions that are not in it", style="bold"))
        for path, reason in report.bad:
            console.print(Text(printable(on_one_line(f"  {path}: {reason}")), style="yellow"))
