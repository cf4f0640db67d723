"""``fleet add``: by one process, by many, on a cluster; what is bad is listed, never fatal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tracekit
from tests.support.fleets.small import copies
from tracekit.fleet.add import add_sessions
from tracekit.fleet.ask import Fleet
from tracekit.fleet.dataset import Dataset
from tracekit.fleet.tables import TABLES


@pytest.fixture(scope="module")
def sessions(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    return copies(session("handover-7.2-tsc"), tmp_path_factory.mktemp("copies"), 4)


def words(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]


def everything(where: Path) -> dict[str, list[dict[str, Any]]]:
    fleet = Fleet(Dataset.at(str(where)))
    return {table: fleet.rows(f"FROM {table} ORDER BY ALL") for table in TABLES}


def test_its_rows_are_the_reports(sessions: list[Path], tmp_path: Path) -> None:
    done = add_sessions(Dataset.at(str(tmp_path), make=True), words(sessions[:1]), host="here")
    assert (done.added, done.there, done.bad) == (1, 0, ())
    rows = everything(tmp_path)
    report = tracekit.open(sessions[0]).report()
    (one,) = rows["handovers"]
    h = report.handovers[0]
    assert (one["blackout_ns"], one["gap_ns"]) == (h.blackout_ns, h.gap_ns)
    assert (one["kernel"], one["date"], one["host"]) == ("7.2.13", one["time"][:10], "here")
    calls = pd.DataFrame(
        [(c.function, c.duration_ns) for c in report.initcalls], columns=["f", "n"]
    )
    assert {r["name"]: r["duration_ns"] for r in rows["initcalls"]} == (
        calls.groupby("f").n.sum().to_dict()
    )
    (losses,) = rows["losses"]
    assert (losses["events"], losses["lost"]) == (report.events, report.lost)
    assert len(rows["remarks"]) == len(report.diagnostics)


def test_adding_again_adds_nothing(sessions: list[Path], tmp_path: Path) -> None:
    dataset = Dataset.at(str(tmp_path), make=True)
    add_sessions(dataset, words(sessions[:2]))
    done = add_sessions(Dataset.at(str(tmp_path)), words(sessions[:3]))
    assert (done.added, done.there) == (1, 2)
    assert len(everything(tmp_path)["handovers"]) == 3


def test_processes_add_what_one_adds(sessions: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.tar.zst"
    bad.write_bytes(b"nothing")
    paths = [*words(sessions), str(bad), str(tmp_path / "gone")]
    for name, workers in (("one", 1), ("two", 2)):
        made = Dataset.at(str(tmp_path / name), make=True)
        done = add_sessions(made, paths, workers=workers)
        assert done.added == 4 and [b.path for b in done.bad] == sorted(paths[4:])
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_bad_sessions_say_why(session: Callable[[str], Path], tmp_path: Path) -> None:
    unfinished = copies(session("handover-7.2-tsc"), tmp_path, 1)[0]
    manifest = unfinished / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"recovered"', '"writing"'))
    paths = [str(unfinished), str(session("same-boot-7.2")), str(tmp_path)]
    done = add_sessions(Dataset.at(str(tmp_path / "d"), make=True), paths)
    reasons = {bad.path: bad.reason for bad in done.bad}
    assert "at work on it" in reasons[paths[0]]
    assert "one boot only" in reasons[paths[1]]
    assert "not a session" in reasons[paths[2]] or "empty" in reasons[paths[2]]
    assert len(Dataset.at(str(tmp_path / "d")).bad) == 3


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(
    sessions: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each decoding process dies at one of the sessions, again and again."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "sitecustomize.py").write_text(_DIES.format(path=str(sessions[1])))
    program = (
        "from tracekit.fleet.add import add_sessions\n"
        "from tracekit.fleet.dataset import Dataset\n"
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    done = add_sessions(Dataset.at(sys.argv[1], make=True), sys.argv[2:], workers=2)\n"
        "    print(done.added, [b.reason for b in done.bad])\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    call = [sys.executable, str(script), str(tmp_path / "d"), *words(sessions)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3 ['the process that decoded it was killed")


_DIES = """
import os, sys
from importlib import abc, machinery, util
import multiprocessing.process
def dies(path):
    if path == {path!r} and multiprocessing.process.parent_process() is not None:
        os.kill(os.getpid(), 9)
import builtins
builtins.tracekit_test_dies = dies
class Finder(abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "tracekit.session.reader":
            return None
        sys.meta_path.remove(self)
        spec = util.find_spec(name)
        loader = spec.loader
        run = loader.exec_module
        def exec_module(module):
            run(module)
            opened = module.Session.open.__func__
            def open(cls, where):
                dies(str(where))
                return opened(cls, where)
            module.Session.open = classmethod(open)
        loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
def test_a_killed_add_is_gone_on_with(sessions: list[Path], tmp_path: Path) -> None:
    """Killed at any moment: what is there is whole, and the next add completes it."""
    call = [sys.executable, "-m", "tracekit", "fleet", "add", str(tmp_path / "d"), *words(sessions),
            "--workers", "2"]  # fmt: skip
    for _ in range(3):
        with subprocess.Popen(call, stderr=subprocess.DEVNULL, start_new_session=True) as running:
            time.sleep(1)
            os.killpg(running.pid, signal.SIGKILL)
    subprocess.run(call, check=True, stderr=subprocess.DEVNULL)
    add_sessions(Dataset.at(str(tmp_path / "serial"), make=True), words(sessions))
    assert everything(tmp_path / "d") == everything(tmp_path / "serial")


@pytest.fixture
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as made:
        yield made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Dask's own, of a worker that is killed
def test_a_cluster_one_of_whose_workers_is_killed_adds_what_one_adds(
    sessions: list[Path], cluster: Any, tmp_path: Path
) -> None:
    killed = []

    def kill_one(_: int) -> None:
        if not killed:
            pid = next(iter(cluster.workers.values())).pid
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    made = Dataset.at(str(tmp_path / "cluster"), make=True)
    done = add_sessions(
        made, words(sessions), scheduler=cluster.scheduler_address, advance=kill_one
    )
    assert killed and (done.added, done.bad) == (4, ())
    add_sessions(Dataset.at(str(tmp_path / "serial"), make=True), words(sessions))
    assert everything(tmp_path / "cluster") == everything(tmp_path / "serial")


def test_events_may_be_added(sessions: list[Path], tmp_path: Path) -> None:
    add_sessions(Dataset.at(str(tmp_path), make=True), words(sessions[:1]), events=True)
    rows = everything(tmp_path)["events"]
    recording = tracekit.open(sessions[0])
    assert len(rows) == len(recording)
    assert {r["event"] for r in rows} == set(recording.timeline["event"].to_pylist())
