"""``tracekit fleet``: many sessions in one dataset, and what it answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tracekit.cli.common import progress, say, show, show_json, talk_options, working
from tracekit.errors import UsageError

__all__ = ["command"]

_QUESTIONS = ("overview", "totals", "phases", "devices", "initcalls", "units", "trends", "losses",
              "dma_left", "remarks", "suspects")  # fmt: skip


@click.group("fleet")
def command() -> None:
    """Many sessions in one dataset: percentiles, outliers, trends.

    DATASET is a folder, or a URL of any filesystem that fsspec knows (s3://bucket/fleet). It holds
    Parquet files by kernel and day, which other tools read as well. docs/fleet.md has its columns.

    \b
      tracekit fleet add DATASET RUNS/           decodes what is not in it yet
      tracekit fleet report DATASET              percentiles, the slowest, what is out of line
      tracekit fleet sql DATASET "SELECT ..."    any other question
      tracekit fleet show DATASET                browse it

    It needs DuckDB, Dask for --scheduler, fsspec for URLs: pip install 'kexec-tracekit[fleet]'.
    """


def _subcommand(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    def make(function: Callable[..., Any]) -> click.Command:
        made: click.Command = command.command(name)(function)
        made.params += talk_options()
        return made

    return make


@_subcommand("add")
@click.argument("dataset")
@click.argument("sessions", nargs=-1, required=True, type=click.Path(readable=False))
@click.option("--workers", type=click.IntRange(1, 512), help="Processes. [one a CPU]")
@click.option("--scheduler", metavar="tcp://…", help="Decode on this Dask cluster instead.")
@click.option("--host", metavar="NAME", help="The host that they are of. [what a session says]")
@click.option("--hosts-by-folder", is_flag=True, help="The host is the folder a session is in.")
@click.option("--events", is_flag=True, help="Add every event, too: large.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def add(
    dataset: str,
    sessions: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    host: str | None,
    hosts_by_folder: bool,
    events: bool,
    as_json: bool,
) -> None:
    """Decode SESSIONS (folders, archives, patterns) into DATASET.

    A session that is there already is left alone, by its fingerprint; one that cannot be used is
    listed with the reason. Killed, the next call goes on where this one was; several may run at
    once. The workers of a --scheduler must see the same paths.
    """
    from tracekit.fleet.add import add_sessions
    from tracekit.fleet.dataset import Dataset
    from tracekit.runs.found import find_sessions

    if host is not None and hosts_by_folder:
        raise UsageError("--host or --hosts-by-folder, not both")
    paths = [str(path.resolve()) for path in find_sessions(sessions)]
    made = Dataset.at(dataset, make=True)
    with progress("decoding", len(paths)) as advance:
        done = add_sessions(
            made, paths, workers=workers or os.cpu_count() or 1, scheduler=scheduler, host=host,
            hosts_by_folder=hosts_by_folder, events=events, advance=advance,
        )  # fmt: skip
    for bad in done.bad:
        say(f"left out: {bad.path}: {bad.reason}")
    if as_json:
        bad_ones = [{"path": bad.path, "reason": bad.reason} for bad in done.bad]
        show_json({"added": done.added, "there": done.there, "bad": bad_ones})
    else:
        say(f"{dataset}: {done.added} added, {done.there} there already, {len(done.bad)} left out")


@_subcommand("report")
@click.argument("dataset")
@click.option("--question", "questions", type=click.Choice(_QUESTIONS), multiple=True,
              help="Only this; may be repeated.")  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def report(dataset: str, questions: tuple[str, ...], html: Path | None, as_json: bool) -> None:
    """Percentiles by phase and kernel, the slowest, trends, losses, and what is out of line.

    A kernel or a host is named where something of it is slower than its peers by ranks: in a fleet
    in which nothing is wrong, at most one report in a hundred names anything.
    """
    from tracekit.cli.printed.fleet import render_fleet
    from tracekit.cli.runs.opened import printer
    from tracekit.export.files import write_text
    from tracekit.fleet.answers import make_report, page
    from tracekit.fleet.ask import Fleet
    from tracekit.fleet.dataset import Dataset

    if html is not None and as_json:
        raise UsageError("--html FILE or --json, not both")
    with working("asking"):
        made = make_report(Fleet(Dataset.at(dataset)), questions)
    if html is not None:
        write_text(page(made, f"Fleet {dataset}"), html, "html")
        say(f"wrote {html}")
    elif as_json:
        show_json(made.as_dict())
    else:
        render_fleet(made, printer())


@_subcommand("show")
@click.argument("dataset")
def show_fleet(dataset: str) -> None:
    """Browse DATASET: how the blackouts are spread, outliers, tables; Enter opens a session."""
    from tracekit.cli.terminal import need_terminal, show_runs
    from tracekit.fleet.answers import make_report
    from tracekit.fleet.ask import Fleet
    from tracekit.fleet.dataset import Dataset
    from tracekit.fleet.questions import outliers
    from tui.runs.fleet import FleetApp, Outliers

    need_terminal("'tracekit fleet report' prints the same")
    with working("asking"):
        fleet = Fleet(Dataset.at(dataset))
        made, far = make_report(fleet), Outliers(*outliers(fleet))
    show_runs(lambda: FleetApp(made, far, f"Fleet {dataset}"))


@_subcommand("sql")
@click.argument("dataset")
@click.argument("query", required=False)
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "parquet"]),
              help="By the name of -o FILE, else table.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write.")
def sql(dataset: str, query: str | None, form: str | None, output: Path | None) -> None:
    """Ask DATASET in SQL (DuckDB); without QUERY it is read from standard input.

    Tables: handovers, phases, devices, initcalls, units, losses, remarks, events; all have
    handover, kernel and date.
    """
    from tracekit.cli.answers.sql import chosen_form, print_result
    from tracekit.fleet.ask import Fleet
    from tracekit.fleet.dataset import Dataset
    from tracekit.sql.output import write

    if query is None and sys.stdin.isatty():
        raise UsageError("give a QUERY, or SQL on standard input")
    chosen = chosen_form(form, output)
    with working("asking"):
        result = Fleet(Dataset.at(dataset)).run(sys.stdin.read() if query is None else query)
    if result is None:
        raise UsageError("the query has no result: end with a SELECT")
    if output is None:
        print_result(result, chosen)
    else:
        write(result, chosen, output)
        say(f"{output}: {len(result):,} rows")


@_subcommand("simulate")
@click.argument("dataset")
@click.argument("sessions", nargs=-1, required=True, type=click.Path(readable=False))
@click.option("--handovers", type=click.IntRange(1), default=10_000, show_default=True,
              help="How many.")  # fmt: skip
@click.option("--hosts", type=click.IntRange(1), default=200, show_default=True, help="Of so many.")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="Over so long.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same gives the same.")
@click.option("--slow", nargs=4, multiple=True, metavar="KIND NAME GROUP MS",
              help="What takes MS more on a host or under a kernel.")  # fmt: skip
def simulate(
    dataset: str, sessions: tuple[str, ...], handovers: int, hosts: int, days: int, seed: int,
    slow: tuple[tuple[str, str, str, str], ...],
) -> None:  # fmt: skip
    """Add simulated handovers, drawn from those of SESSIONS, to try a fleet report.

    \b
      tracekit fleet simulate DATASET SESSION --slow device 0000:00:03.0 host0007 20
      tracekit fleet simulate DATASET SESSION --slow phase dark 7.3.4 400
    """
    from tracekit.cli.runs.opened import runs_at
    from tracekit.fleet.dataset import Dataset
    from tracekit.fleet.simulate import Slow, World
    from tracekit.fleet.simulate import simulate as simulated

    try:
        slowed = tuple(Slow(k, name, group, round(float(ms) * 1e6)) for k, name, group, ms in slow)
    except (ValueError, OverflowError):
        raise UsageError("--slow KIND NAME GROUP MS: MS is a number of milliseconds") from None
    world = World(handovers, seed, hosts=hosts, days=days, slow=slowed)
    runs = runs_at(sessions)
    with progress("simulating", handovers) as advance:
        for number in simulated(Dataset.at(dataset, make=True), runs, world):
            advance(number)
    say(f"{dataset}: {handovers:,} simulated handovers, drawn from {len(runs)}")


@_subcommand("compact")
@click.argument("dataset")
def compact(dataset: str) -> None:
    """Write the small files of many adds as few large ones; what is in them stays the same."""
    from tracekit.fleet.compact import compact as compacted
    from tracekit.fleet.dataset import Dataset

    with working("compacting"):
        before, after = compacted(Dataset.at(dataset))
    show(f"{before} files before, {after} now")


@_subcommand("hand-on")
@click.argument("session", type=click.Path(path_type=Path), required=False)
@click.option("--recovered", is_flag=True, help="The session this boot was recovered into.")
@click.option("--to", "folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Copy it to a folder there, under a name of its own.")  # fmt: skip
@click.option("--run", "program", metavar="COMMAND", help="Run this with its path at the end.")
def hand_on(
    session: Path | None, recovered: bool, folder: Path | None, program: str | None
) -> None:
    """Hand a finished SESSION on: what 'setup --after-recover' makes the unit call.

    It needs no packages. In DIR the session is called HOST-BOOT, and is there whole or not at all.
    """
    from tracekit.capture.cmdline.session_param import recovered_session
    from tracekit.capture.recover.hand_on import copy_session, run_with
    from tracekit.sysroot import Sysroot

    if (session is None) != recovered:
        raise UsageError("name a SESSION, or --recovered for that of this boot")
    if (folder is None) == (program is None):
        raise UsageError("--to DIR or --run COMMAND")
    path = recovered_session(Sysroot("/")) if session is None else session
    if folder is not None:
        say(f"{path}: handed on as {copy_session(path, folder)}")
    else:
        run_with(str(program), path)
