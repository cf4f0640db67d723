"""Nothing that a session, or a saved tree, says reaches a terminal unprinted."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.imports import sources
from tests.support.machine_trees import old_machine
from tests.support.sessions.hostile_texts import EVIL, leaks, make_hostile

MARKED = "PWN"


@pytest.fixture(scope="module")
def hostile(session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("hostile") / "session"
    return make_hostile(shutil.copytree(session("handover-7.2-to-7.3-tsc"), copy))


def on_a_terminal(*words: object) -> bytes:
    """What a command writes to a terminal, stdout and stderr."""
    command = shlex.join([sys.executable, "-m", "tracekit", *map(str, words)])
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], stdout=subprocess.PIPE, check=False,
        env={**os.environ, "TERM": "xterm-256color"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    ["report {s}", "report {s} --json", "events {s}", "events {s} --format kernel",
     "events {s} --format json --to -1s", "export {s} --format csv -o -", "-v report {s}",
     "-v events {s} --where prev_comm=3", "events {s} --where 'cpu = nonsense'",
     "report {s}/boots", "blame {s}", "critical-chain {s} --all", "plot {s} -o -",
     "report {s} --format openmetrics", "report {s} --format otlp", "compare {s} {s}",
     "compare {s} {s} --json", "compare {s} --with {s}", "fleet add {s}-fleet {s} --host a",
     "fleet report {s}-fleet", "fleet report {s}-fleet --json",
     "fleet sql {s}-fleet 'SELECT name, kernel FROM devices'"],
)  # fmt: skip
def test_a_session(hostile: Path, words: str) -> None:
    out = on_a_terminal(*shlex.split(words.format(s=hostile)))
    assert out.strip() and not leaks(out)
    assert b"Traceback" not in out or words.startswith("-v")


def test_the_session_is_hostile_enough(hostile: Path) -> None:
    """Its texts do come as far as the outputs: escaped on a terminal, as they are in a pipe."""
    out = on_a_terminal("events", hostile)
    assert rb"\x1b]0;PWN\x07\x9b31m\u202e" in out
    piped = subprocess.run(
        [sys.executable, "-m", "tracekit", "events", str(hostile), "--format", "kernel"],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    assert leaks(piped.stdout)
    report = on_a_terminal("report", hostile).decode()
    assert report.count(MARKED) > 10
    assert "\nrecord complete" not in report.replace("\r", "")


def test_events_as_text_may_go_through_a_pager(hostile: Path) -> None:
    command = [sys.executable, "-m", "tracekit", "events", str(hostile)]
    piped = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert piped.strip() and not leaks(piped)


def test_a_report_in_a_pipe_is_text_too(hostile: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracekit", "report", str(hostile)], capture_output=True, check=True
    )
    assert MARKED.encode() in done.stdout and not leaks(done.stdout + done.stderr)


def test_a_saved_tree(tmp_path: Path) -> None:
    tree = old_machine().write(tmp_path / "tree")
    for name in ("proc/version", "proc/cmdline", "sys/kernel/tracing/trace_clock"):
        file = tree / name
        file.write_text(file.read_text().rstrip("\n") + f" {EVIL} trace_instance={EVIL}\n")
    odd = tree / f"sys/kernel/tracing/instances/{EVIL}"
    odd.mkdir(parents=True)
    (odd / "trace_clock").symlink_to("/etc/passwd")
    session = tmp_path / "S"
    for words in (
        ("doctor", "--sysroot", tree), ("doctor", "--sysroot", tree, "--json"),
        ("-v", "snapshot", "--sysroot", tree, "-o", session),
        ("-v", "recover", "--sysroot", tree, session),
        ("recover", "--sysroot", tree, "--region", EVIL, session),
        ("report", tmp_path / EVIL), ("export", EVIL, "--format", EVIL), (EVIL,),
        ("report", session),
    ):  # fmt: skip
        out = on_a_terminal(*words)
        assert out.strip() and not leaks(out), words


def _prints(tree: ast.AST) -> list[ast.Call]:
    """Calls that write to the terminal, other than of JSON and of texts in the source."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    wrote = [c for c in calls if ast.unparse(c.func) in ("click.echo", "print", "Console")]
    return [
        c
        for c in wrote
        if not (c.args and isinstance(c.args[0], ast.Constant))
        and not (c.args and ast.unparse(c.args[0]).startswith(("json.dumps(", "printable(")))
    ]


def test_commands_print_through_one_place() -> None:
    """A new command that echoes what it was told is found here."""
    allowed = {"tracekit.cli.common", "tracekit.cli.completion"}
    found = {
        f"{name}: {ast.unparse(call)}"
        for name, path in sources("tracekit").items()
        if name.startswith("tracekit.cli") and name not in allowed
        for call in _prints(ast.parse(path.read_text()))
    }
    version = "tracekit.cli: click.echo(f\"tracekit {version('kexec-tracekit')}\")"
    assert found <= {version}, found
