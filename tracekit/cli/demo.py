"""``tracekit demo``: a real handover that ships with tracekit."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click

from tracekit.cli.common import say
from tracekit.cli.report import print_report
from tracekit.errors import SourceError, UsageError

__all__ = ["command"]

_NEXT = """
This was a real KHO handover, Linux 7.2.13 to 7.3.4, two CPUs in QEMU. To look further:
  tracekit demo -o DIR                     copy the session
  tracekit events DIR --from -5ms --to 0   the last 5 ms before the jump
  tracekit export DIR --format parquet -o events.parquet
On your own machine: tracekit doctor; in QEMU: tracekit lab"""


def _copy(archive: Path, target: Path) -> None:
    """Unpack the shipped session into a new directory."""
    from tracekit.session.limits import MAX_REGION
    from tracekit.session.names import check_relative
    from tracekit.session.store import open_store

    store = open_store(archive)
    try:
        target.mkdir(mode=0o700)
        for name in store.names:
            path = target.joinpath(*check_relative(name))
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(store.load(name, MAX_REGION))
    except FileExistsError:
        raise UsageError(f"{target} exists: name a directory that does not") from None
    except OSError as error:
        raise SourceError(f"{target}: cannot be written: {error.strerror}") from error


@click.command("demo")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Copy the session to DIR instead."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(output: Path | None, as_json: bool) -> None:
    """Show the report of a real handover that ships with tracekit, and where to go next."""
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as archive:
        if output is not None:
            _copy(archive, output)
            say(f"{output}: the session of the demo; next: tracekit report {output}")
            return
        print_report(str(archive), as_json)
    if not as_json:
        say(_NEXT)
