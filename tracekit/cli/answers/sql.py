"""``tracekit sql``: a session as tables of DuckDB."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import tracekit
from tracekit.cli.common import say, show, working
from tracekit.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from tracekit.sql.database import Database
    from tracekit.sql.output import Form

__all__ = ["chosen_form", "command", "print_result"]


def chosen_form(form: str | None, output: Path | None) -> Form:
    """The format asked for, else what the file's name says, else a table."""
    from tracekit.export.targets import check_target
    from tracekit.sql.output import FORMATS, form_of

    named = form_of(output) if output is not None else None
    chosen = next((f for f in FORMATS if f == form), named or "table")
    if chosen == "parquet" and output is None:
        raise UsageError("--format parquet needs a file: add -o FILE.parquet")
    if output is not None:
        check_target(output, chosen)
    return chosen


def print_result(result: pa.Table, form: Form) -> None:
    """Write a result to stdout."""
    from tracekit.sql.output import table_lines, write

    if form != "table":
        sys.stdout.flush()
        write(result, form, Path("-"))
        sys.stdout.buffer.flush()
        return
    for line in table_lines(result):
        show(line)
    say(f"{len(result):,} rows")


def _typed(database: Database, form: Form) -> None:
    from tracekit.sql.prompt import HELP, Prompt

    prompt = Prompt(database, lambda result: print_result(result, form), say)
    say(HELP)
    prompt.with_line_editing()


@click.command("sql")
@click.argument("session", type=click.Path(readable=False))
@click.argument("query", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="How to write the result; by the name of -o FILE, else table. json: one object a line.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file to write; .gz, .zst compress."
)
def command(session: str, query: str | None, form: str | None, output: Path | None) -> None:
    """Ask SESSION in SQL (DuckDB), or open a prompt without QUERY.

    Tables: events; boots, cpus, tasks, phases, devices, initcalls, units; what is analysed: spans,
    turns, states, wakeups, calls; and a view an event with its typed arguments: sched_switch, and
    in full "sched:sched_switch". Times are ns, 0 is the jump; events.time is the time of day (UTC).

    \b
      tracekit sql SESSION "SELECT event, count(*) AS n FROM events GROUP BY 1 ORDER BY n DESC"
      tracekit sql SESSION "FROM devices ORDER BY duration_ns DESC LIMIT 5"
      tracekit sql SESSION "SELECT next_comm, count(*) FROM sched_switch GROUP BY 1" -o s.csv
      tracekit sql SESSION                             a prompt; SQL on stdin works, too

    A query reads the session alone: no files, no network, no extensions. It needs DuckDB:
    pip install 'kexec-tracekit[sql]'. docs/sql.md has the columns and ten questions.
    """
    from tracekit.sql.database import Database, need_duckdb
    from tracekit.sql.output import write

    need_duckdb()  # before anything is decoded
    chosen = chosen_form(form, output)
    with working("decoding"):
        database = Database(tracekit.open(session))
    if query is None and sys.stdin.isatty():
        if output is not None:
            raise UsageError("-o writes the result of a QUERY: give one")
        _typed(database, chosen)
        return
    with working("asking"):
        result = database.run(sys.stdin.read() if query is None else query)
    if result is None:
        raise UsageError("the query has no result: end with a SELECT")
    if output is None:
        print_result(result, chosen)
    else:
        write(result, chosen, output)
        say(f"{output}: {len(result):,} rows")
