"""snapshot and recover as commands: without the analysis half, their exit codes, and root first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import new_machine, old_machine

REPO = Path(__file__).parents[2]
FORBID = """
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'numpy', 'pandas', 'pyarrow', 'textual', *sys.argv[1].split(',')}:
            raise ImportError('forbidden: ' + name)
sys.meta_path.insert(0, Forbid())
from tracekit.cli import main
sys.exit(main(sys.argv[2:]))
"""


def command(*args: object, forbid: str = "", cwd: Path = REPO) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", FORBID, forbid, *map(str, args)]
    return subprocess.run(line, check=False, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("forbid", ["", "zstandard,rich"])
def test_the_commands_without_the_analysis_half(tmp_path: Path, forbid: str) -> None:
    old = old_machine().write(tmp_path / "old")
    new = new_machine().write(tmp_path / "new")
    done = command("snapshot", "--sysroot", old, "-o", tmp_path / "S", "--json", forbid=forbid)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["formats"] == 3
    assert f"tracekit recover {tmp_path / 'S'}" in done.stderr
    done = command("recover", "--sysroot", new, tmp_path / "S", "--json", forbid=forbid)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(r["name"], r["boot"], r["kept"]) for r in told["regions"]] == [
        ("tkA", 0, False), ("tkB", 1, False),
    ]  # fmt: skip
    assert f"tracekit report {tmp_path / 'S'}" in done.stderr
    suffix = ".gz" if forbid else ".zst"
    assert (tmp_path / f"S/boots/0/regions/tkA.raw{suffix}").exists()
    done = command("-q", "recover", "--sysroot", new, tmp_path / "S", forbid=forbid)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_exit_codes(tmp_path: Path) -> None:
    old = old_machine().write(tmp_path / "old")
    new = replace(new_machine(), kho=None).write(tmp_path / "new")
    session = tmp_path / "S"
    for args, code, said in (
        (("snapshot", "--sysroot", tmp_path / "no", "-o", session), 3, "--sysroot"),
        (("snapshot", "--sysroot", tmp_path, "-o", session), 3, "mount tracefs"),
        (("snapshot", "--sysroot", old, "-o", old), 4, "not a session"),
        (("snapshot", "--sysroot", old), 2, "-o"),
        (("recover", "--sysroot", new, session), 5, "no KHO data"),
        (("recover", "--sysroot", new, "--region", "x", session), 2, "NAME@ADDRESS:SIZE"),
        (("recover", "--sysroot", new, "--region", "x@4K:4K", session), 5, "in no core"),
    ):
        done = command(*args)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("args", [("snapshot", "-o", "S"), ("recover", "S")])
def test_root_is_asked_for_first(tmp_path: Path, args: tuple[str, ...]) -> None:
    script = (
        "import os, sys; os.geteuid = lambda: 1000\n"
        "from tracekit.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args], check=False, cwd=tmp_path, capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert done.returncode == 3
    assert "sudo" in done.stderr
    assert list(tmp_path.iterdir()) == []
