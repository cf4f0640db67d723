"""What ``x`` has the command line write, in a process of its own: traces, and the report's page."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tracekit.errors import SourceError
from tracekit.interpreter import python_command
from tui.jobs import Job

__all__ = ["page_of", "run", "trace_dat_of", "trace_of"]

_NAP = 0.02  # seconds between two looks at the process
_PATIENCE = 30  # seconds that it is given to take away what it began


def trace_of(session: Path, target: Path, where: str, window: tuple[int, int] | None) -> list[str]:
    """The words of the command that writes a Perfetto trace of what ``where`` shows.

    ``window``: only of this time, ns.
    """
    words = ["export", "--format", "perfetto", f"--output={target.absolute()}"]
    if where:
        words.append(f"--where={where}")
    if window is not None:
        words += [f"--from={window[0]}ns", f"--to={window[1] - 1}ns"]
    return [*words, "--", str(session.absolute())]


def trace_dat_of(session: Path, target: Path, boot: int) -> list[str]:
    """Those of the one that writes a boot's trace.dat."""
    options = ["--format", "trace.dat", f"--boot={boot}", f"--output={target.absolute()}"]
    return ["export", *options, "--", str(session.absolute())]


def page_of(session: Path, target: Path) -> list[str]:
    """Those of the one that writes the report as a page."""
    return ["report", f"--html={target.absolute()}", "--", str(session.absolute())]


def run(job: Job, words: list[str]) -> None:
    """Run a command of tracekit.

    Raises :class:`~tracekit.errors.SourceError` with what it said, and whatever ends the job.
    """
    command = python_command("tracekit.cli", ["--quiet", *words])
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            while process.poll() is None:
                job.step()
                time.sleep(_NAP)
        except BaseException:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            finally:
                process.kill()
            raise
        assert process.stderr is not None
        said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise SourceError(said.removeprefix("tracekit: ") or f"exit code {process.returncode}")
