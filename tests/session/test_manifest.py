"""The manifest: every file's digest, and any document read or refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import SessionError, VersionError
from tracekit.session import Session, SessionWriter
from tracekit.session.manifest import Manifest, parse_manifest


def test_the_manifest(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    assert manifest["format_version"] == 2
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


def test_a_newer_version_says_so(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest |= {"format_version": 4, "tool_version": "9.9"}
    (path / "manifest.json").write_text(json.dumps(manifest))
    for opening in (Session.open, SessionWriter.open):
        with pytest.raises(VersionError, match=r"format 4, written by tracekit 9\.9"):
            opening(path)


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
