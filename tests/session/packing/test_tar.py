"""Archives against tarfile, damaged and endless ones."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import SessionError
from tracekit.session.packing.tar import tar_archive, tar_members

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


@pytest.mark.parametrize("size", [b"-0000001000\0", b"+0000000000\0", b"1_0\0", b"0o0000000\0"])
def test_a_size_is_octal_digits_alone(size: bytes) -> None:
    """A negative one would lead back to its own header."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("name"))
    blob = bytearray(packed.getvalue())
    blob[124:136] = size.ljust(12, b"\0")
    with pytest.raises(SessionError, match="not a number"):
        tar_members(bytes(blob), "t", 100)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.lists(file_names, min_size=1, max_size=5).map("/".join), st.binary(max_size=1500),
        max_size=8,
    )
)  # fmt: skip
def test_new_archives_against_tarfile(files: dict[str, bytes]) -> None:
    blob = tar_archive(files)
    assert blob == tar_archive(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
        found = {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar.getmembers()}
    assert found == {name.rstrip("/"): data for name, data in files.items()}
    members = tar_members(blob, "t", 100)
    assert {name: blob[at : at + size] for name, (at, size) in members.items()} == files
