"""``tracekit import``: a trace.dat of trace-cmd as a session."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tracekit.cli.common import progress, say, say_diagnostics, show_json

__all__ = ["command"]


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option(
    "-o", "--output", "session", required=True, metavar="SESSION", type=click.Path(),
    help="The session directory to make; it must be new, or empty.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(files: tuple[Path, ...], session: str, as_json: bool) -> None:
    """Make a session of a trace.dat that trace-cmd recorded or extracted.

    Versions 6 and 7 are read, plain or compressed (zstd, zlib), with all their buffers. Several
    files become the boots of one session, the oldest first: what 'tracekit export --format
    trace.dat' wrote of each boot comes back as it was.

    Only recordings of 64-bit little-endian kernels can be decoded, and no text of a latency
    tracer. The file's clocks and names come along; what trace-cmd does not save (the kernel log,
    clock samples) is missed by the report, which says so.

    \b
      trace-cmd record -e sched sleep 1              or: trace-cmd extract
      tracekit import trace.dat -o SESSION
      tracekit events SESSION
      tracekit import old.dat new.dat -o SESSION     two kernels, one session
    """
    from tracekit.trace_dat.save import import_files

    done = import_files(files, session, progress)
    for file, one in zip(files, done, strict=True):
        say_diagnostics(one.diagnostics)
        buffers = "1 buffer" if len(one.buffers) == 1 else f"{len(one.buffers)} buffers"
        say(
            f"{file}: boot {one.boot}, kernel {one.release}, {one.formats} event formats, "
            f"{buffers}, {one.size:,} bytes of events"
        )
    say(f"look at it: tracekit show {session}")
    if as_json:
        boots = [
            {**asdict(one), "diagnostics": [d.as_dict() for d in one.diagnostics]} for one in done
        ]
        show_json({"session": session, "boots": boots})
