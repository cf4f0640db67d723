"""``tracekit export``: the timeline as CSV or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

import tracekit
from tracekit.cli.common import progress, say
from tracekit.cli.filters import build_filter, filter_options
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.export.targets import Form
    from tracekit.recording import Recording

__all__ = ["command"]

_DERIVED = "timeline.parquet"  # the whole timeline, kept in the session for the next time


def _redacted(recording: Recording) -> Recording:
    from tracekit.export.redaction.recording import Redacted

    say("redacted: names of devices, events and kernel threads stay; look at it before you share")
    return Redacted.of(recording)


@click.command("export")
@click.argument("session", type=click.Path(readable=False))
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file to write; - is stdout (CSV)."
)
@click.option(
    "--per-event",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write one Parquet file an event into DIR, with its typed arguments.",
)
@click.option(
    "--redact",
    is_flag=True,
    help="To share it: without names of tasks, command lines, paths, free texts and addresses.",
)
@filter_options
def command(
    session: str,
    form: str,
    output: Path | None,
    per_event: Path | None,
    redact: bool,
    **filters: Any,
) -> None:
    """Write the events of SESSION as CSV or Parquet.

    Columns: ts_ns, boot, cpu, pid, comm, event, source, flags, args, ts_raw. Times are ns, 0 is
    the jump; ts_raw is the stamp as the kernel wrote it.

    CSV named .gz or .zst is compressed. A text in it that a spreadsheet would run as a formula
    (it begins with = + - @, tab or newline, and is no number) has an apostrophe in front; where a
    cell begins with apostrophes and then one of these, remove one to get the text back.

    --redact replaces what says who ran what where, with the same name for the same task or
    address; docs/python.md has what it cannot promise: look at the file before you share it.

    \b
      tracekit export SESSION --format csv -o events.csv
      tracekit export SESSION --format csv -o shared.csv.zst --redact
      tracekit export SESSION --format parquet --per-event DIR --event 'sched:*'
      tracekit export SESSION --format csv -o slow.csv --where 'duration_ns > 10ms'
    """
    if output is None and per_event is None:
        raise UsageError("nothing to write: give -o FILE, or --per-event DIR, or both")
    if per_event is not None and form != "parquet":
        raise UsageError("--per-event writes Parquet: add --format parquet")
    if per_event is not None and filters["grep"]:
        raise UsageError("--grep cannot be combined with --per-event: its files hold typed fields")
    if redact and form not in ("csv", "parquet"):  # others hold the records, names and all
        raise UsageError("--redact writes CSV and Parquet: add --format csv or parquet")
    from tracekit.export.targets import check_target
    from tracekit.session import Session
    from tracekit.session.derived import fetch_derived, keep_derived
    from tracekit.timeline.filter import Filter

    if output is not None:
        check_target(output, cast("Form", form))  # before anything is decoded
    wanted, opened = build_filter(**filters), Session.open(session)
    everything = form == "parquet" and wanted == Filter() and not redact
    if everything and output is not None and per_event is None:
        rows = fetch_derived(opened, _DERIVED, output)
        if rows is not None:
            say(f"{output}: {rows:,} events")
            return
    recording = tracekit.open(opened)
    if redact:
        recording = _redacted(recording)
    from tracekit.export.files import write_csv, write_events, write_parquet

    total = len(recording)
    if output is not None:
        write = write_csv if form == "csv" else write_parquet
        with progress(f"writing {output.name}", total) as advance:
            rows = write(recording, output, wanted, advance)
        say(f"{output}: {rows:,} events")
        if everything:
            keep_derived(opened, _DERIVED, output, rows)
    if per_event is not None:
        with progress(f"writing {per_event}", total) as advance:
            files = write_events(recording, per_event, wanted, advance)
        say(f"{per_event}: {sum(files.values()):,} events in {len(files)} files")
