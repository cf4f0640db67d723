"""Kills ``recover`` or ``snapshot`` at every step, and lets a second run finish. A program.

Usage: ``python -m tests.support.kill_lab TREE SESSION WORK [snapshot]``. TREE is the running
kernel's tree, SESSION the session to begin with (or no such directory), WORK an empty one. Prints
one JSON line a kill point: the call it was killed at, and what was found after the second run.

Every call that changes the file system is a step; the process dies (SIGKILL) before the call, or
in the middle of it where it is a write. The steps of a run are counted, not guessed: the last
point is the one where it was not killed any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.session import Session
from tracekit.session.files import Directory
from tracekit.sysroot import Sysroot

_STEPS = ("replace", "fsync", "write", "mkdir", "unlink", "link", "ftruncate", "rmdir")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(fatal: int) -> list[str]:
    """Patch the steps: the one numbered ``fatal`` does not survive."""
    taken: list[str] = []

    def watch(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            taken.append(name)
            if len(taken) == fatal:
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                die()
            # A killed process loses nothing that it wrote, so syncing would only take time.
            return None if name == "fsync" else call(*args, **options)

        return step

    Directory.sync_tree = lambda self, rel: None  # type: ignore[method-assign]
    for name in _STEPS:
        setattr(os, name, watch(name, getattr(os, name)))
    return taken


def begin(start: Path, session: Path) -> None:
    """A copy of the session to start with, if there is one."""
    if start.exists():
        shutil.copytree(start, session)


def content(session: Path) -> dict[str, str]:
    return {
        str(f.relative_to(session)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(session.rglob("*"))
        if f.is_file()
    }


def command(tree: Path, session: Path) -> None:
    """What is killed."""
    if sys.argv[4:] == ["snapshot"]:
        snapshot(Sysroot(tree), session)
    else:
        recover(Sysroot(tree), session)


def run(tree: Path, session: Path, fatal: int) -> bool:
    """The command in a child that is killed at step ``fatal``; True when it got through."""
    child = os.fork()
    if child == 0:
        arm(fatal)
        try:
            command(tree, session)
        except BaseException as error:
            print(json.dumps({"error": repr(error)}), flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def main() -> None:
    tree, start, work = map(Path, sys.argv[1:4])
    whole = work / "whole"
    begin(start, whole)
    # Once in this process too: its children then have everything imported.
    begin(start, work / "warm")
    command(tree, work / "warm")
    assert run(tree, whole, -1)
    wanted = content(whole)
    fatal, through = 1, False
    while not through:
        session = work / f"killed-{fatal}"
        begin(start, session)
        through = run(tree, session, fatal)
        if not through:
            begun = (session / "manifest.json").exists()
            readable = Session.open(session).diagnostics if begun else []  # must not raise
            incomplete = any(d.code == "session-incomplete" for d in readable)
            assert run(tree, session, -1)
            found = content(session)
            print(
                json.dumps(
                    {
                        "step": fatal,
                        "incomplete": incomplete,
                        "same": found == wanted,
                        "differs": sorted(
                            k for k in found.keys() | wanted if found.get(k) != wanted.get(k)
                        ),
                        "diagnostics": [d.code for d in Session.open(session).diagnostics],
                    }
                ),
                flush=True,
            )
        shutil.rmtree(session)
        fatal += 1


if __name__ == "__main__":
    main()
