"""The dataset: adding is whole or nothing, once however often, and two at once lose nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.fleets.small import dataset_of
from tests.support.sessions.figures import figure, run
from tracekit.errors import SessionError, SourceError, UsageError, VersionError
from tracekit.fleet.ask import Fleet
from tracekit.fleet.compact import compact
from tracekit.fleet.dataset import Added, Bad, Dataset
from tracekit.fleet.place import Place
from tracekit.fleet.tables import of_runs
from tracekit.runs.run import Run


def runs(begin: int, end: int) -> list[Run]:
    return [run(figure("total", "blackout", 1000 + n), figure("device", "d", n), session=f"s{n}",
                kernel=f"7.{n % 2}") for n in range(begin, end)]  # fmt: skip


def added(some: list[Run]) -> list[Added]:
    return [Added(r.fingerprint, r.session, 1, of_runs([r])) for r in some]


def blackouts(dataset: Dataset) -> list[int]:
    rows = Fleet(dataset).rows("SELECT blackout_ns AS ns FROM handovers ORDER BY ns")
    return [row["ns"] for row in rows]


def test_a_session_is_in_it_once(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", runs(0, 5))
    assert dataset.add(added(runs(3, 8)), []) is not None
    assert dataset.add(added(runs(0, 8)), []) is None
    assert blackouts(Dataset.at(str(tmp_path / "d"))) == list(range(1000, 1008))


def test_its_files_are_plain_hive_partitions(tmp_path: Path) -> None:
    dataset_of(tmp_path / "d", runs(0, 4))
    table = pq.read_table(tmp_path / "d" / "devices")
    assert set(table["kernel"].to_pylist()) == {"7.0", "7.1"} and len(table) == 4


@pytest.mark.parametrize("kernel", ["7/../../x", "7=2&%", "", "ü '\"", "\ud800"])
def test_any_kernel_has_a_folder_of_its_own(kernel: str, tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", [run(kernel=kernel)])
    (row,) = Fleet(dataset).rows("SELECT kernel FROM handovers")
    assert row["kernel"] == kernel.encode("utf-8", "backslashreplace").decode() or not kernel
    assert {p.name for p in tmp_path.iterdir()} == {"d"}


def test_files_that_no_commit_names_are_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    """Killed before the commit was written."""
    dataset = dataset_of(tmp_path / "d", runs(0, 2))
    write = type(dataset.place).write

    def killed(self: Place, name: str, data: bytes) -> None:
        if name.startswith("commits/"):
            raise SourceError("killed")
        write(self, name, data)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(type(dataset.place), "write", killed)
        with pytest.raises(SourceError):
            dataset.add(added(runs(2, 4)), [])
    again = Dataset.at(str(tmp_path / "d"))
    assert blackouts(again) == [1000, 1001]
    again.add(added(runs(2, 4)), [])
    assert blackouts(again) == [1000, 1001, 1002, 1003]


def test_two_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    def add(begin: int, end: int) -> None:
        mine = Dataset.at(str(tmp_path / "d"), make=True)
        for n in range(begin, end):
            mine.add(added(runs(n, n + 1)), [])

    threads = [threading.Thread(target=add, args=span) for span in ((0, 12), (6, 18), (0, 18))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dataset = Dataset.at(str(tmp_path / "d"))
    assert blackouts(dataset) == [1000 + n for n in range(18)]
    assert dataset.doubles() == {}


def test_without_locks_the_first_commit_counts(tmp_path: Path) -> None:
    """On an object store two adds may both commit a session."""
    one = dataset_of(tmp_path / "d", runs(0, 3))
    parts = ((w, t) for r in runs(2, 5) for w, t in of_runs([r]).items())
    one.commit_parts({r.fingerprint: (r.session, 1) for r in runs(2, 5)}, parts)
    dataset = Dataset.at(str(tmp_path / "d"))
    assert len(dataset.doubles()) == 1
    assert blackouts(dataset) == [1000 + n for n in range(5)]
    (row,) = Fleet(dataset).rows("SELECT sum(handovers)::INT AS n FROM sums WHERE kind = 'device'")
    assert row["n"] == 5
    compact(dataset)
    again = Dataset.at(str(tmp_path / "d"))
    assert again.doubles() == {} and blackouts(again) == [1000 + n for n in range(5)]


def test_compacting_changes_nothing_but_the_files(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", runs(0, 2))
    for n in range(2, 10):
        dataset.add(added(runs(n, n + 1)), [Bad(f"bad{n}", "no")])
    reader = Dataset.at(str(tmp_path / "d"))
    before, after = compact(dataset)
    assert after < before
    reader.refresh()
    for one in (dataset, reader, Dataset.at(str(tmp_path / "d"))):
        assert blackouts(one) == [1000 + n for n in range(10)]
        assert [b.path for b in one.bad] == [f"bad{n}" for n in range(2, 10)]
    assert dataset.add(added(runs(0, 10)), []) is None
    files = sum(1 for _ in (tmp_path / "d").rglob("*.parquet"))
    assert files == after


def test_bad_ones_are_listed_until_they_are_good(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", runs(0, 1))
    dataset.add([], [Bad("s5", "damaged"), Bad("s6", "empty")])
    assert dataset.add([], [Bad("s5", "damaged")]) is None
    dataset.add(added(runs(5, 6)), [])
    assert Dataset.at(str(tmp_path / "d")).bad == [Bad("s6", "empty")]


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no fleet"):
        Dataset.at(str(tmp_path))
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits" / "1.json").write_text('{"schema": 99}')
    with pytest.raises(VersionError):
        Dataset.at(str(tmp_path))
    for text in ("{", "[]", '{"schema": 1}', '{"schema": 1, "sessions": 3}'):
        (tmp_path / "commits" / "1.json").write_text(text)
        with pytest.raises(SessionError, match="damaged"):
            Dataset.at(str(tmp_path))


def test_a_query_sees_the_dataset_alone(tmp_path: Path) -> None:
    fleet = Fleet(dataset_of(tmp_path / "d", runs(0, 2)))
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for query in (
        f"FROM '{tmp_path}/secret.csv'", "COPY (SELECT 1) TO '" + f"{tmp_path}/d/x.parquet'",
        f"ATTACH '{tmp_path}/d/x.db'", "SELEC", "SET memory_limit = '9GB'",
    ):  # fmt: skip
        with pytest.raises(UsageError):
            fleet.run(query)
    assert not (tmp_path / "d" / "x.parquet").exists()
    assert fleet.run("CREATE TEMP TABLE t AS SELECT 3 AS x; FROM t").to_pylist() == [{"x": 3}]  # type: ignore[union-attr]


def test_a_damaged_file_is_an_error_with_a_name(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", runs(0, 2))
    fleet = Fleet(dataset)
    for file in (tmp_path / "d").rglob("handovers/**/*.parquet"):
        file.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(SourceError, match="damaged"):
        Fleet(dataset)
    with pytest.raises(SourceError, match="damaged"):
        fleet.rows("FROM handovers")
    with pytest.raises(UsageError):
        fleet.run("FROM handovers")


def test_the_folder_may_be_called_anything(tmp_path: Path) -> None:
    where = tmp_path / "a [1] *?'\"" / "d"
    assert blackouts(dataset_of(where, runs(0, 3))) == [1000, 1001, 1002]


def test_a_release_of_any_length(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", [run(kernel="7." + "ü/" * 400)])
    (row,) = Fleet(dataset).rows("SELECT kernel FROM handovers")
    assert row["kernel"].startswith("7.ü/")


def test_a_filesystem_of_fsspec(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    where = f"memory://fleet-{tmp_path.name}"
    dataset = Dataset.at(where, make=True)
    dataset.add(added(runs(0, 3)), [])
    again = Dataset.at(where)
    again.add(added(runs(1, 5)), [])
    assert blackouts(Dataset.at(where)) == [1000 + n for n in range(5)]
    compact(again)
    assert blackouts(Dataset.at(where)) == [1000 + n for n in range(5)]
    with pytest.raises(UsageError):
        Dataset.at("nosuch://x")
