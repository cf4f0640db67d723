"""``tracekit check``: sessions held against a budget."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracekit.cli.common import say, show, show_json
from tracekit.cli.runs.opened import runs_at
from tracekit.errors import TracekitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.runs.run import Run

__all__ = ["command"]


def _update(runs: Sequence[Run], budget: Path) -> None:
    from tracekit.export.targets import replaced_file
    from tracekit.runs.budget import read_text, with_baseline

    before = read_text(budget) if budget.exists() else None
    text = with_baseline(before, runs, str(budget))
    with replaced_file(budget) as file:
        file.write(text.encode())
    say(f"wrote {budget}: the baseline is of {len(runs)} handovers")


@click.command("check")
@click.argument("sessions", nargs=-1, required=True, type=click.Path(readable=False))
@click.option(
    "--budget", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="What may be taken: TOML, see docs/runs.md.",
)  # fmt: skip
@click.option("--update", is_flag=True, help="Write the budget's baseline from these runs.")
@click.option(
    "--junit", "junit_file", type=click.Path(path_type=Path), metavar="FILE",
    help="Write JUnit XML there, too.",
)  # fmt: skip
@click.option(
    "--github/--no-github", default=None,
    help="Annotations of GitHub's workflows. Default: where GITHUB_ACTIONS is set.",
)  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Print what is held, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def command(
    sessions: tuple[str, ...],
    budget: Path,
    update: bool,
    junit_file: Path | None,
    github: bool | None,
    every: bool,
    as_json: bool,
) -> None:
    """Hold SESSIONS against a budget; exit code 1 where it is not held.

    Prints the lines that broke it: OVER is over the limit by more than the clocks may be off, CLOSE
    is over it by less, UNKNOWN is a limit that nothing was measured for, which does not hold it.
    Limits hold for each run; the baseline for the median of all runs.

    \b
      tracekit check RUNS/ --budget budget.toml --update    write the baseline from good runs
      tracekit check SESSION --budget budget.toml           hold another against it
      tracekit check RUNS/ --budget budget.toml --junit report.xml
    """
    from tracekit.cli.printed.compared import checked_lines
    from tracekit.export.files import write_text
    from tracekit.runs.budget import read_budget
    from tracekit.runs.check import check, github_lines, junit

    wanted = None if update else read_budget(budget)  # a mistake is told before anything is decoded
    runs = runs_at(sessions)
    if wanted is None:
        _update(runs, budget)
        return
    checked = check(runs, wanted)
    failed = [one for one in checked if one.failed]
    if junit_file is not None:
        write_text(junit(checked, str(budget)), junit_file, "junit")
    if as_json:
        show_json({"held": not failed, "runs": len(runs),
                   "checks": [one.as_dict() for one in checked]})  # fmt: skip
    else:
        for line in checked_lines(checked, str(budget), every=every):
            show(line)
        if github or (github is None and os.environ.get("GITHUB_ACTIONS") == "true"):
            for line in github_lines(checked, str(budget)):
                show(line)
    if failed:
        raise TracekitError(f"{budget} is not held: {len(failed)} of {len(checked)} checks")
    say(f"{budget} is held: {len(checked)} checks of {len(runs)} handovers")
