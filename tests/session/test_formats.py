"""Formats of events: once by content, whatever was saved before, and of hostile sessions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sessions.loose import loosen
from tests.support.sessions.small import KERNEL
from tracekit.errors import SessionError, TooLarge
from tracekit.session import Session, SessionWriter
from tracekit.session.formats import Formats, archive_file, list_file
from tracekit.session.packing.tar import tar_archive

ALL = {f"sys/event{n}/format": b"name: event%d\n" % n * 40 for n in range(100)}
DYNAMIC = {f"kprobes/p{n}/format": b"name: p%d\n" % n for n in range(3)}
BASE = "boots/0/tracefs/events/"


def save(path: Path, *boots: dict[str, bytes]) -> None:
    with SessionWriter.open(path) as writer:
        for boot, files in enumerate(boots):
            writer.write_formats(boot, files)
            writer.write(f"boots/{boot}/kernel.json", KERNEL)
            writer.add_boot(boot)
        writer.finish("snapshot")


def seen(path: Path, boot: int = 0) -> dict[str, bytes]:
    session = Session.open(path)
    base = f"boots/{boot}/tracefs/events/"
    assert session.diagnostics == []
    return {name.removeprefix(base): session.read(name) for name in session.list(base)}


def archives(path: Path) -> dict[str, int]:
    return {f.name: f.stat().st_ino for f in (path / "formats").iterdir()}


def test_formats_are_files_to_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "S"
    save(path, ALL)
    assert seen(path) == ALL
    session = Session.open(path)
    assert session.list(f"{BASE}sys/event7/") == [f"{BASE}sys/event7/format"]
    assert f"{BASE}sys/event7/format" in session.list() and session.list("boots/1") == []
    assert session.has(f"{BASE}sys/event7/format")
    assert not session.has(f"{BASE}sys/event7")
    assert len(archives(path)) == 1
    with SessionWriter.open(path) as writer:
        assert writer.names(f"{BASE}sys/event7/") == (f"{BASE}sys/event7/format",)
        assert writer.read(f"{BASE}sys/event7/format") == ALL["sys/event7/format"]
        assert writer.has(f"{BASE}sys/event7/format") and not writer.has(f"{BASE}other")
        writer.finish("snapshot")


def test_boots_share_what_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "S"
    other = {**ALL, "sys/event0/format": b"another\n"}
    del other["sys/event1/format"]
    save(path, ALL, ALL, {**ALL, **DYNAMIC}, other)
    assert [seen(path, boot) for boot in range(4)] == [ALL, ALL, {**ALL, **DYNAMIC}, other]
    assert len(archives(path)) == 3  # all, the dynamic ones, the other one
    lists = [json.loads((path / list_file(boot)).read_bytes()) for boot in range(4)]
    assert len({listed["archives"][0] for listed in lists}) == 1
    assert lists[3]["without"] == ["sys/event1/format"]


def test_a_save_writes_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "S"
    save(path, ALL)
    first = archives(path)
    save(path, ALL)
    assert archives(path) == first
    save(path, {**ALL, **DYNAMIC})
    assert seen(path) == {**ALL, **DYNAMIC}
    assert archives(path).items() > first.items()
    more = [f for f in (path / "formats").iterdir() if f.name not in first]
    assert sum(f.stat().st_size for f in more) < 1000
    save(path, ALL)
    assert seen(path) == ALL


def test_many_saves_make_few_archives(tmp_path: Path) -> None:
    path = tmp_path / "S"
    wanted = dict(ALL)
    for n in range(40):
        wanted[f"kprobes/p{n}/format"] = b"name: p%d\n" % n
        wanted.pop(f"kprobes/p{n - 3}/format", None)
        save(path, wanted)
        assert seen(path) == wanted
    assert len(json.loads((path / list_file(0)).read_bytes())["archives"]) <= 8
    save(path, wanted)  # archives that nobody lists are removed by the next run
    assert len(archives(path)) <= 9


@pytest.mark.parametrize("what", ["archive", "list"])
def test_what_was_damaged_is_written_again(tmp_path: Path, what: str) -> None:
    path = tmp_path / "S"
    save(path, ALL)
    damaged = next((path / "formats").iterdir()) if what == "archive" else path / list_file(0)
    damaged.write_bytes(b"rubbish")
    session = Session.open(path)
    assert session.list(BASE) == []
    assert {d.code for d in session.diagnostics} == {"session-file-changed", "format-unreadable"}
    save(path, ALL)
    assert seen(path) == ALL


def test_an_archive_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "S"
    save(path, ALL)
    next((path / "formats").iterdir()).unlink()
    session = Session.open(path)
    assert session.list(BASE) == [] and not session.has(f"{BASE}sys/event7/format")
    assert {d.code for d in session.diagnostics} == {"session-file-missing", "format-unreadable"}
    with pytest.raises(SessionError, match="missing"):
        session.read(f"{BASE}sys/event7/format")
    save(path, ALL)
    assert seen(path) == ALL


def test_an_older_session_is_read_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "S"
    save(path, ALL, ALL)
    loosen(path)
    assert not (path / "formats").exists()
    assert seen(path) == seen(path, 1) == ALL
    with SessionWriter.open(path) as writer:
        assert writer.formats(0) == ALL
        writer.write_formats(0, {**writer.formats(0), **DYNAMIC})
        writer.finish("snapshot")
    assert not (path / BASE).exists() and (path / BASE.replace("0", "1")).exists()
    assert seen(path) == {**ALL, **DYNAMIC} and seen(path, 1) == ALL
    assert json.loads((path / "manifest.json").read_bytes())["format_version"] == 2


def test_a_killed_save_leaves_the_one_before(tmp_path: Path) -> None:
    """An archive is there before the list that names it; one that none names goes away."""
    path = tmp_path / "S"
    save(path, ALL)
    first = archives(path)
    with SessionWriter.open(path) as writer:
        blob = tar_archive(DYNAMIC)
        identity = hashlib.sha256(blob).hexdigest()[:32]
        writer.write(archive_file(identity), blob, compressed=True)  # killed here
    assert len(archives(path)) == 2
    assert Session.open(path).read(f"{BASE}sys/event7/format") == ALL["sys/event7/format"]
    save(path, ALL)
    assert archives(path) == first and seen(path) == ALL


def test_boots_that_move_keep_their_formats(tmp_path: Path) -> None:
    path = tmp_path / "S"
    save(path, ALL, {**ALL, **DYNAMIC})
    with SessionWriter.open(path) as writer:
        writer.shift_boots(0)
        assert writer.formats(2) == {**ALL, **DYNAMIC} and writer.formats(1) == ALL
        writer.finish("snapshot")
    assert seen(path, 2) == {**ALL, **DYNAMIC}


# -- of somebody else -------------------------------------------------------------------------


def test_names_in_archives_lead_nowhere(tmp_path: Path) -> None:
    evil = ["../../../x", "/etc/passwd", "a/./b", ".hidden/format", "a\x1b[2J/format", "a/b.part"]
    made = Formats(
        {
            list_file(0): json.dumps({"archives": ["0" * 32], "without": []}).encode(),
            archive_file("0" * 32): tar_archive(dict.fromkeys([*evil, "a/b/format"], b"x")),
        }.get,
        lambda rel: None,
    )
    assert dict(made.of(0)) == {"a/b/format": b"x"}
    with SessionWriter.open(tmp_path / "S") as writer:
        for name in evil:
            with pytest.raises(SessionError):
                writer.write_formats(0, {name: b"x"})


def test_there_is_an_end_to_how_many_there_are(tmp_path: Path) -> None:
    """Few bytes, and 256 boots that each have 2^13 formats: a kernel has three thousand."""
    blob = tar_archive({f"s/e{n}/format": b"" for n in range(1 << 13)})
    files = {archive_file("0" * 32): blob}
    listed = json.dumps({"archives": ["0" * 32], "without": []}).encode()
    files |= {list_file(boot): listed for boot in range(256)}
    made = Formats(files.get, lambda rel: None)
    with pytest.raises(SessionError, match="not a session"):
        list(made.names("boots/", range(256)))


def test_archives_count_towards_what_a_session_may_unpack_to(tmp_path: Path) -> None:
    path = tmp_path / "S"
    names = []
    with SessionWriter.open(path) as writer:
        for n in range(20):
            names.append(f"{n:032x}")
            writer.write(archive_file(names[-1]), bytes(31 << 20) + bytes([n]), compressed=True)
        document = {"archives": names, "without": []}
        writer.write(list_file(0), json.dumps(document).encode())
        writer.write("boots/0/kernel.json", KERNEL)
        writer.add_boot(0)
        writer.finish("snapshot")
    with pytest.raises(TooLarge):
        Session.open(path).list(BASE)


@settings(max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=8) | st.just("0" * 32),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.sampled_from(["archives", "without", "x"]), inner, max_size=3)
            ),
            max_leaves=10,
        ).map(lambda document: json.dumps(document).encode()),
    ),
    st.binary(max_size=600),
)
def test_damaged_lists_and_archives(listed: bytes, archive: bytes) -> None:
    said: list[str] = []
    files = {list_file(0): listed, archive_file("0" * 32): archive}
    made = Formats(files.get, lambda rel: None, lambda where, why: said.append(why))
    assert made.of(0) or made.listed(0).archives == () or said
    plan = made.plan(0, ALL, list(files))
    assert plan.listed is not None
