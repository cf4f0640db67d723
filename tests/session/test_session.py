"""The session directory: what is written is read, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import Diagnostic, SessionError, VersionError
from tracekit.session import Session, SessionWriter, compression, reader, safe_name
from tracekit.session.compression import compress, decompress
from tracekit.session.manifest import Manifest, parse_manifest
from tracekit.session.names import check_name, check_relative, strip_suffix
from tracekit.session.tar import tar_members

KERNEL = b'{"release": "7.2.13"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A finished session of one boot."""
    target = tmp_path / "S"
    with SessionWriter.open(target) as writer:
        with writer.tree("boots/0/tracefs") as tree:
            tree.write("events/a/b/format", b"name: b")
            tree.write("saved_cmdlines", b"1 init\n", compressed=True)
        writer.write("boots/0/kallsyms", b"0 T _text\n" * 99, compressed=True)
        with writer.stream("boots/0/regions/tkA.raw", 1 << 20) as sink:
            for _ in range(16):
                sink.write(b"page" * (1 << 14))
        writer.write("boots/0/kernel.json", KERNEL)
        writer.add_boot(0)
        writer.set_diagnostics(0, [Diagnostic("code", "info", "boot 0", "said")])
        writer.finish("snapshot")
    return target


def codes(session: Session) -> list[str]:
    return [d.code for d in session.diagnostics]


def test_what_is_written_is_read(path: Path) -> None:
    session = Session.open(path)
    assert session.path == path
    assert session.boots == [0]
    assert session.kernel(0) == {"release": "7.2.13"}
    assert session.read("boots/0/kallsyms") == b"0 T _text\n" * 99
    assert session.read("boots/0/kallsyms.zst") == b"0 T _text\n" * 99
    assert session.read("boots/0/regions/tkA.raw") == b"page" * (1 << 18)
    assert session.read("boots/0/tracefs/saved_cmdlines") == b"1 init\n"
    assert session.has("boots/0/regions/tkA.raw")
    assert not session.has("boots/0/regions/tkB.raw")
    assert session.list("boots/0/tracefs/") == [
        "boots/0/tracefs/events/a/b/format",
        "boots/0/tracefs/saved_cmdlines",
    ]
    assert session.list("boots/0/reg") == ["boots/0/regions/tkA.raw"]
    assert len(session.list()) == 5
    assert session.diagnostics == [Diagnostic("code", "info", "boot 0", "said")]


def test_nobody_else_can_read_it(path: Path) -> None:
    for directory, _, files in os.walk(path):
        assert stat.S_IMODE(Path(directory).stat().st_mode) == 0o700
        for file in files:
            assert stat.S_IMODE(Path(directory, file).stat().st_mode) == 0o600


def test_an_empty_directory_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "S").mkdir(mode=0o755)
    with SessionWriter.open(tmp_path / "S"):
        pass
    assert stat.S_IMODE((tmp_path / "S").stat().st_mode) == 0o700


def test_the_manifest(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    assert manifest["format_version"] == 1
    assert manifest["tool"] == "tracekit"
    assert manifest["state"] == "snapshot"
    assert manifest["boots"] == [0]
    on_disk = {
        str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in path.rglob("*")
        if f.is_file() and f.name != "manifest.json"
    }
    assert manifest["files"] == on_disk
    assert not list(path.rglob(".*"))


def test_the_same_content_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    before = {f: f.read_bytes() for f in path.rglob("*.zst")}
    with SessionWriter.open(path) as writer:
        writer.write("boots/0/kallsyms", b"0 T _text\n" * 99, compressed=True)
        writer.finish("snapshot")
    assert {f: f.read_bytes() for f in path.rglob("*.zst")} == before


# -- reading what is not right ----------------------------------------------------------------


def test_missing_files_are_named(path: Path) -> None:
    with pytest.raises(SessionError, match="boots/0/iomem is missing"):
        Session.open(path).read("boots/0/iomem")
    with pytest.raises(SessionError, match=r"boots/7/kernel\.json is missing"):
        Session.open(path).kernel(7)


def test_a_file_that_went_missing(path: Path) -> None:
    (path / "boots/0/kallsyms.zst").unlink()
    session = Session.open(path)
    assert codes(session) == ["code", "session-file-missing"]
    assert session.diagnostics[1].where == "boots/0/kallsyms.zst"


def test_many_missing_files_are_counted(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["files"] |= {f"gone/{i}": "0" * 64 for i in range(100)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    found = [d for d in Session.open(path).diagnostics if d.code == "session-file-missing"]
    assert len(found) == 21
    assert "80 more" in found[-1].message


def test_a_changed_file_is_read_and_reported_once(path: Path) -> None:
    (path / "boots/0/tracefs/events/a/b/format").write_bytes(b"name: c")
    session = Session.open(path)
    assert codes(session) == ["code"]
    for _ in range(2):
        assert session.read("boots/0/tracefs/events/a/b/format") == b"name: c"
    assert codes(session) == ["code", "session-file-changed"]
    assert session.diagnostics[1].where == "boots/0/tracefs/events/a/b/format"


def test_a_damaged_file(path: Path) -> None:
    region = path / "boots/0/regions/tkA.raw.zst"
    whole = region.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:10], b"", b"rubbish" * 20):
        region.write_bytes(damaged)
        session = Session.open(path)
        with pytest.raises(SessionError, match="damaged"):
            session.read("boots/0/regions/tkA.raw")
        assert "session-file-changed" in codes(session)


def test_symlinks_do_not_exist(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("secret")
    (path / "boots/0/link").symlink_to(tmp_path / "secret")
    (path / "boots/0/dir").symlink_to(tmp_path / "dir")
    os.mkfifo(path / "boots/0/fifo")
    session = Session.open(path)
    assert session.list("boots/0/") == Session.open(path).list("boots/0/")
    for name in ("link", "dir/file", "fifo"):
        assert not session.has(f"boots/0/{name}")
        with pytest.raises(SessionError, match="missing"):
            session.read(f"boots/0/{name}")
    # ... and one that takes a file's place after the session was opened
    (path / "boots/0/kernel.json").unlink()
    (path / "boots/0/kernel.json").symlink_to(tmp_path / "secret")
    with pytest.raises(SessionError, match="cannot be read"):
        session.kernel(0)


@pytest.mark.parametrize("kernel", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_damaged_json(path: Path, kernel: bytes) -> None:
    (path / "boots/0/kernel.json").write_bytes(kernel)
    with pytest.raises(SessionError, match="damaged"):
        Session.open(path).kernel(0)


def test_a_newer_version_says_so(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest |= {"format_version": 2, "tool_version": "9.9"}
    (path / "manifest.json").write_text(json.dumps(manifest))
    for opening in (Session.open, SessionWriter.open):
        with pytest.raises(VersionError, match=r"format 2, written by tracekit 9\.9"):
            opening(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such session"),
        (lambda p: p.mkdir(), "empty"),
        (lambda p: p.write_text("x"), "not a session"),
        (lambda p: (p.mkdir(), (p / "file").write_text("x")), "not a session"),
    ],
)
def test_not_a_session(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "S")  # type: ignore[operator]
    with pytest.raises(SessionError, match=message) as caught:
        Session.open(tmp_path / "S")
    assert "tracekit snapshot" in str(caught.value)


@pytest.mark.parametrize(
    "manifest",
    [
        b"", b"{}", b"[]", b"null", b"{" * 100_000, b'{"tool": "other", "format_version": 1}',
        b'{"tool": "tracekit"}', b'{"tool": "tracekit", "format_version": "1"}',
        b'{"tool": "tracekit", "format_version": 0}',
        b'{"tool": "tracekit", "format_version": 1, "files": [], "boots": []}',
        b'{"tool": "tracekit", "format_version": 1, "files": {"a": 1}, "boots": []}',
        b'{"tool": "tracekit", "format_version": 1, "files": {}, "boots": ["0"]}',
        b'{"tool": "tracekit", "format_version": 1, "files": {}, "boots": [-1]}',
        b'{"tool": "tracekit", "format_version": 1, "files": {}, "boots": [100000]}',
    ],
)  # fmt: skip
def test_manifests_that_make_no_sense(path: Path, manifest: bytes) -> None:
    (path / "manifest.json").write_bytes(manifest)
    for opening in (Session.open, SessionWriter.open):
        with pytest.raises(SessionError, match=r"manifest\.json"):
            opening(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["tool", "format_version", "files", "boots", "diagnostics", "state"]),
        json_values,
    )
)
def test_any_manifest_is_read_or_refused(document: dict[str, object]) -> None:
    base = {"tool": "tracekit", "format_version": 1, "files": {}, "boots": []}
    try:
        manifest = parse_manifest(json.dumps(base | document).encode(), "S")
    except SessionError:
        return
    assert isinstance(manifest, Manifest)
    assert parse_manifest(manifest.encode(), "S") == manifest


# -- bounds -----------------------------------------------------------------------------------


def bomb(size: int, stated: bool) -> bytes:
    out = io.BytesIO()
    writer = zstandard.ZstdCompressor().stream_writer(
        out, size=size if stated else -1, closefd=False
    )
    for _ in range(size >> 20):
        writer.write(bytes(1 << 20))
    writer.close()
    return out.getvalue()


@pytest.mark.parametrize("stated", [True, False])
def test_decompression_is_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    monkeypatch.setattr(reader, "MAX_FILE", 1 << 20)
    monkeypatch.setattr(reader, "MAX_REGION", 4 << 20)
    (path / "boots/0/kallsyms.zst").write_bytes(bomb(2 << 20, stated))
    (path / "boots/0/regions/tkA.raw.zst").write_bytes(bomb(8 << 20, stated))
    (path / "boots/0/regions/tkB.raw.zst").write_bytes(bomb(4 << 20, stated))
    session = Session.open(path)
    for rel in ("boots/0/kallsyms", "boots/0/regions/tkA.raw"):
        with pytest.raises(SessionError, match="exhaust memory"):
            session.read(rel)
    assert session.read("boots/0/regions/tkB.raw") == bytes(4 << 20)


def test_gzip_is_bounded_too() -> None:
    packed = gzip.compress(bytes(1 << 20))
    assert decompress(packed, ".gz", "x", 1 << 20) == bytes(1 << 20)
    with pytest.raises(SessionError, match="exhaust memory"):
        decompress(packed, ".gz", "x", (1 << 20) - 1)
    with pytest.raises(SessionError, match="exhaust memory"):
        decompress(bytes(11), "", "x", 10)


@given(st.binary(max_size=300), st.sampled_from([".zst", ".gz", ""]))
def test_compression_round_trip(data: bytes, suffix: str) -> None:
    packed = compress(data, suffix) if suffix else data
    assert decompress(packed, suffix, "x", 300) == data


@given(
    st.binary(min_size=30, max_size=300),
    st.sampled_from([".zst", ".gz"]),
    st.integers(0, 400),
    st.integers(1, 255),
)
def test_damage_is_an_error_or_the_same(data: bytes, suffix: str, at: int, flip: int) -> None:
    packed = bytearray(compress(data, suffix))
    packed[at % len(packed)] ^= flip
    try:
        decompress(bytes(packed), suffix, "x", 1 << 20)
    except SessionError as error:
        assert "x: " in str(error)


def test_frames_one_after_the_other() -> None:
    """As pzstd writes them: no frame says the size of the whole."""
    one, two = compress(b"one" * 99, ".zst"), compress(b"two" * 99, ".zst")
    assert decompress(one + two, ".zst", "x", 1000) == b"one" * 99 + b"two" * 99
    with pytest.raises(SessionError, match="exhaust"):
        decompress(one + two, ".zst", "x", 500)


def test_without_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert compression.preferred_suffix() == ".gz"
    with SessionWriter.open(tmp_path / "G") as writer:
        writer.write("boots/0/regions/tkA.raw", b"raw" * 99, compressed=True)
        writer.finish("recovered")
    assert (tmp_path / "G/boots/0/regions/tkA.raw.gz").exists()
    assert Session.open(tmp_path / "G").read("boots/0/regions/tkA.raw") == b"raw" * 99
    with pytest.raises(SessionError, match="install the package 'zstandard'"):
        Session.open(path).read("boots/0/kallsyms")


# -- archives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "./", "S/", "./some/where/S/"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_reads_like_the_directory(path: Path, prefix: str, form: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        tar.add(path, arcname=prefix or ".")
    archive = path.with_suffix(".tar.zst")
    archive.write_bytes(compress(packed.getvalue(), ".zst"))
    one, two = Session.open(path), Session.open(archive)
    assert two.list() == one.list()
    assert two.boots == [0]
    for name in one.list():
        assert two.read(name) == one.read(name)
    assert two.diagnostics == one.diagnostics
    gz = path.with_suffix(".tar.gz")
    gz.write_bytes(gzip.compress(packed.getvalue()))
    assert Session.open(gz).list() == one.list()


def test_archives_that_are_none(tmp_path: Path) -> None:
    for content in (b"", b"rubbish", compress(b"rubbish" * 200, ".zst"), compress(b"", ".zst")):
        archive = tmp_path / "a.tar.zst"
        archive.write_bytes(content)
        with pytest.raises(SessionError):
            Session.open(archive)
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w"):
        pass
    archive.write_bytes(compress(empty.getvalue(), ".zst"))
    with pytest.raises(SessionError, match="empty"):
        Session.open(archive)


file_names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=90
).filter(lambda name: name not in (".", "..") and name[-1] not in " \n")


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.lists(file_names, min_size=1, max_size=5).map("/".join), st.binary(max_size=1500),
        max_size=8,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)  # fmt: skip
def test_tar_against_tarfile(files: dict[str, bytes], form: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("a-link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    blob = packed.getvalue()
    found = tar_members(blob, "t", 100)
    assert {name: blob[at : at + size] for name, (at, size) in found.items()} == files


@given(
    st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), max_size=6), st.integers(0, 3)
)
def test_damaged_archives(flips: list[tuple[int, int]], form: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form % 3) as tar:
        info = tarfile.TarInfo("long/" * 25 + "name" if form else "name")
        info.size = 100
        tar.addfile(info, io.BytesIO(bytes(100)))
    blob = bytearray(packed.getvalue())
    for at, value in flips:
        blob[at] = value
    try:
        found = tar_members(bytes(blob), "t", 100)
    except SessionError as error:
        assert "not a tar archive" in str(error)
    else:
        assert all(at >= 0 and at + size <= len(blob) for at, size in found.values())


def test_tar_entries_are_bounded() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number in range(11):
            tar.addfile(tarfile.TarInfo(str(number)))
    assert len(tar_members(packed.getvalue(), "t", 11)) == 11
    with pytest.raises(SessionError, match="more than 10"):
        tar_members(packed.getvalue(), "t", 10)


# -- writing ----------------------------------------------------------------------------------


def test_one_writer_at_a_time(path: Path) -> None:
    script = (
        "import sys\nfrom tracekit.session import SessionWriter\n"
        "with SessionWriter.open(sys.argv[1]):\n print('open', flush=True)\n sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin and other.stdout
    with other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(SessionError, match="another tracekit is writing"):
            SessionWriter.open(path)
        assert "session-incomplete" in codes(Session.open(path))
    with SessionWriter.open(path) as writer:
        writer.finish("snapshot")
    assert codes(Session.open(path)) == ["code"]


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SessionError, match=r"holds notes\.txt and no manifest"):
        SessionWriter.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(SessionError, match="cannot be made a session directory"):
        SessionWriter.open(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/../x", "a//b", "", ".", "a/.tmp-x", ".hidden/x", "x.part", "a\nb", "a\0b",
     "a/" * 600 + "b", "x" * 300],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with SessionWriter.open(tmp_path / "S") as writer:
        with pytest.raises(SessionError):
            writer.write(name, b"x")
        with writer.tree("boots/0/tracefs") as tree, pytest.raises(SessionError):
            tree.write(name, b"x")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["manifest.json"]


def test_writing_does_not_follow_symlinks(path: Path, tmp_path: Path) -> None:
    """A session that somebody else prepared: recover runs as root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (path / "boots/1").symlink_to(outside)
    (path / "boots/0/dmesg").symlink_to(outside / "file")
    with SessionWriter.open(path) as writer:
        with pytest.raises(SessionError, match="cannot be written"):
            writer.write("boots/1/file", b"x")
        with pytest.raises(SessionError, match="cannot be written"):  # noqa: SIM117
            with writer.tree("boots/1/tracefs") as tree:
                tree.write("file", b"x")
        writer.write("boots/0/dmesg", b"x")  # replaces the link itself
    assert [p.name for p in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "mine"
    assert not (path / "boots/0/dmesg").is_symlink()


def test_errors_leave_no_half_written_file(path: Path) -> None:
    before = sorted(path.rglob("*"))
    with SessionWriter.open(path) as writer:
        with pytest.raises(ValueError, match="oops"):  # noqa: SIM117
            with writer.stream("boots/0/regions/tkB.raw", 10) as sink:
                sink.write(b"12345")
                raise ValueError("oops")
        writer.finish("snapshot")
    assert sorted(path.rglob("*")) == before


def test_a_full_disk_is_a_session_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SessionWriter.open(path) as writer:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(SessionError, match=r"No space left on device.*run the same command"):
            writer.write("boots/0/dmesg", b"x")


def test_a_tree_replaces_the_one_before(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        writer.write("boots/0/tracefs/per_cpu/cpu0/pages", b"kept" * 9, compressed=True)
        with writer.tree("boots/0/tracefs", keep="pages") as tree:
            tree.write("events/a/new/format", b"name: new")
        writer.finish("snapshot")
    session = Session.open(path)
    assert session.list("boots/0/tracefs") == [
        "boots/0/tracefs/events/a/new/format",
        "boots/0/tracefs/per_cpu/cpu0/pages",
    ]
    assert session.read("boots/0/tracefs/per_cpu/cpu0/pages") == b"kept" * 9
    assert codes(session) == ["code"]


def test_a_tree_without_files_changes_nothing(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        with writer.tree("boots/0/tracefs"):
            pass
        writer.finish("snapshot")
    assert Session.open(path).has("boots/0/tracefs/saved_cmdlines")


def test_a_file_replaces_its_twin_of_another_suffix(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        writer.write("boots/0/kallsyms", b"plain")
        assert writer.read("boots/0/kallsyms") == b"plain"
        writer.finish("snapshot")
    assert not (path / "boots/0/kallsyms.zst").exists()
    assert Session.open(path).read("boots/0/kallsyms") == b"plain"
    assert codes(Session.open(path)) == ["code"]


def test_what_a_killed_run_left_is_tidied_up(path: Path) -> None:
    """A tree that was about to be replaced comes back; temporary files go."""
    boot = path / "boots/0"
    (boot / "tracefs").rename(boot / ".tmp-old-tracefs")
    (boot / ".tmp-tracefs").mkdir()
    (boot / ".tmp-tracefs/half").write_text("x")
    (boot / ".tmp-dmesg").write_text("x")
    (boot / "pages.part").write_text("goes on")
    found = Session.open(path)
    assert "session-incomplete" in codes(found)
    assert not found.has("boots/0/pages.part")
    with SessionWriter.open(path) as writer:
        writer.finish("snapshot")
    assert codes(Session.open(path)) == ["code", "session-incomplete"]  # the .part is still there
    (boot / "pages.part").unlink()
    session = Session.open(path)
    assert codes(session) == ["code"]
    assert session.has("boots/0/tracefs/saved_cmdlines")
    assert not list(path.rglob(".tmp-*"))


def test_after_a_kill_stock_is_taken(path: Path) -> None:
    with SessionWriter.open(path) as writer:  # never finished
        writer.write("boots/1/kernel.json", KERNEL)
    with SessionWriter.open(path) as writer:
        assert writer.manifest.boots == [0, 1]
        assert writer.earlier_state == "writing"
        writer.finish("snapshot")
    assert Session.open(path).boots == [0, 1]
    assert codes(Session.open(path)) == ["code"]


def test_abandoning(path: Path, tmp_path: Path) -> None:
    before = (path / "manifest.json").read_bytes()
    with SessionWriter.open(path) as writer:
        writer.abandon()
    assert (path / "manifest.json").read_bytes() == before
    with SessionWriter.open(tmp_path / "new") as writer:
        writer.abandon()
    assert not (tmp_path / "new").exists()


def test_shifting_boots(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        writer.shift_boots(1)
        assert writer.manifest.boots == [0]
        writer.shift_boots(0)
        writer.write("boots/0/kernel.json", b'{"release": "older"}')
        writer.add_boot(0)
        writer.finish("snapshot")
    session = Session.open(path)
    assert session.boots == [0, 1]
    assert [session.kernel(i)["release"] for i in (0, 1)] == ["older", "7.2.13"]
    assert session.read("boots/1/regions/tkA.raw") == b"page" * (1 << 18)
    assert codes(session) == ["code"]


# -- names ------------------------------------------------------------------------------------


@given(st.text())
def test_any_name_becomes_a_plain_one(name: str) -> None:
    plain = safe_name(name)
    assert check_name(f"boots/0/regions/{plain}.raw.zst")
    assert "/" not in plain
    assert strip_suffix(plain) == plain
    assert safe_name(plain) == plain


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_names_stay_two(one: str, two: str) -> None:
    assert (safe_name(one) == safe_name(two)) == (one == two)


@pytest.mark.parametrize("name", ["tkA", "tk_a-1", "tk.a", "a" * 64, "7"])
def test_plain_names_stay(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["../../x", "", ".", "a/b", ".x", "a b", "a" * 65, "x.zst", "x.part"]
)
def test_other_names_do_not(name: str) -> None:
    assert safe_name(name) != name


@given(st.text())
def test_a_checked_path_stays_inside(rel: str) -> None:
    try:
        parts = check_relative(rel)
    except SessionError:
        return
    assert os.path.normpath(f"/s/{rel}") == "/s/" + "/".join(parts)
