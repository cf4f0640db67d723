"""Copies of regions: which one is kept, what is done again, and where files go."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import (
    NEW_TEXT,
    OLD_TEXT,
    REGION,
    TKA,
    TKB,
    new_machine,
    old_machine,
    region,
)
from tests.support.sessions.recovering import codes, owners, prepare, run
from tracekit.capture.recover.recover import recover
from tracekit.capture.recover.regions import SavedRegion
from tracekit.parameters import RegionSpec
from tracekit.session import Session, SessionWriter
from tracekit.sysroot import Sysroot


def test_a_second_run_keeps_what_the_first_copied(tmp_path: Path) -> None:
    """The new kernel has written to the regions since: the first copy is the better one."""
    prepare(tmp_path)
    run(tmp_path, new_machine())
    spoilt = new_machine()
    spoilt.regions = {TKA: bytes(REGION), TKB: region(NEW_TEXT, "later")}
    result, session = run(tmp_path, spoilt)
    assert all(r.kept for r in result.regions)
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    assert session.read("boots/1/regions/tkB.raw") == region(0, "B")
    assert session.diagnostics == []


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    prepare(tmp_path)
    run(tmp_path, new_machine())
    (raw,) = (tmp_path / "S/boots/0/regions").glob("tkA.raw.*")
    raw.write_bytes(raw.read_bytes()[:-9])
    result, session = run(tmp_path, new_machine())
    assert [r.kept for r in result.regions] == [False, True]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    assert session.diagnostics == []


def test_read_by_its_own_boot_and_then_by_the_next(tmp_path: Path) -> None:
    """What was read after the jump is more: it takes the place of what was read before."""
    old = replace(old_machine(), regions={TKA: region(OLD_TEXT, "early")})
    prepare(tmp_path, old)
    run(tmp_path, old, RegionSpec("tkA", TKA, REGION), name="old")
    result, session = run(tmp_path, new_machine())
    assert session.boots == [0, 1]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    aside = [n for n in session.list("boots/0/other-copies/") if n.endswith(".raw")]
    assert [session.read(n) for n in aside] == [region(OLD_TEXT, "early")]
    assert "region-copied-twice" in codes(result)


def test_what_the_boot_itself_writes_is_read_anew(tmp_path: Path) -> None:
    """It may have recorded again since: neither recording is lost."""
    prepare(tmp_path)
    spec = RegionSpec("tkA", TKA, REGION)
    for n, seed in enumerate(("one", "two", "two", "three")):
        old = replace(old_machine(), regions={TKA: region(OLD_TEXT, seed)})
        result, session = run(tmp_path, old, spec, name=f"old{n}")
        assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, seed)
        assert ("region-copied-twice" in codes(result)) == (n in {1, 3})
    aside = [n for n in session.list("boots/0/other-copies/") if n.endswith(".raw")]
    assert [session.read(n) for n in aside] == [region(OLD_TEXT, s) for s in ("two", "one")]
    assert len(aside) == 2 and not session.list("incoming/")


def test_read_by_the_next_boot_and_by_the_one_after(tmp_path: Path) -> None:
    """The first copy stays; one that is the same is not kept twice."""
    prepare(tmp_path)
    run(tmp_path, new_machine())
    third = replace(
        new_machine(),
        boot_id="33333333-0000-4000-8000-000000000003",
        text_address=0xFFFFFFFFA3000000,
        regions={TKA: region(OLD_TEXT, "spoilt"), TKB: region(0, "B")},
    )
    _, session = run(tmp_path, third, name="third")
    assert session.boots == [0, 1, 2]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    aside = [n for n in session.list("boots/0/other-copies/") if n.endswith(".raw")]
    assert [session.read(n) for n in aside] == [region(OLD_TEXT, "spoilt")]
    assert len([n for n in session.list() if n.endswith("tkB.raw")]) == 1
    assert not session.list("incoming/")
    assert session.manifest.state == "recovered"


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "..", "a\nb", "x.zst", ".hid", "é", "y" * 200]
)
def test_region_names_never_decide_where_a_file_goes(tmp_path: Path, name: str) -> None:
    prepare(tmp_path)
    new = replace(new_machine(), kho={name: (TKA, REGION)})
    tree = new.write(tmp_path / "new")
    before = set(tmp_path.rglob("*"))
    result = recover(Sysroot(tree), tmp_path / "S")
    for path in set(tmp_path.rglob("*")) - before:
        assert path.is_relative_to(tmp_path / "S")
    assert owners(result) == {name: 0}
    session = Session.open(tmp_path / "S")
    assert "name-replaced" in [d.code for d in session.diagnostics]
    (told,) = [n for n in session.list("boots/0/regions/") if n.endswith(".json")]
    assert session.json(told)["name"] == name
    assert session.read(told.removesuffix("json") + "raw") == region(OLD_TEXT, "A")
    again = recover(Sysroot(tree), tmp_path / "S")
    assert all(r.kept for r in again.regions)


def test_a_session_prepared_by_somebody_else(tmp_path: Path) -> None:
    """Its descriptions of regions are rubbish; nothing of it is believed."""
    session = prepare(tmp_path)
    regions = session / "boots/0/regions"
    regions.mkdir()
    for number, content in enumerate([b"", b"{}", b"[]", b'{"name": 5}', b"[" * 10_000, b"null"]):
        (regions / f"r{number}.json").write_bytes(content)
    (regions / "tkA.json").write_text(
        json.dumps(
            {"name": "tkA", "address": "x", "size": None, "carrier": 1, "found_by": [],
             "read_in": {}, "sha256": 3, "header": "zz", "boot": "0", "owner_evidence": 1}
        )
    )  # fmt: skip
    result, found = run(tmp_path, new_machine())
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert found.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")


@pytest.mark.parametrize(
    ("content", "description", "stays"),
    [("A", b"", False), ("spoilt", b"", True), ("spoilt", b"{}", True)],
)
def test_a_copy_that_a_kill_left_undescribed(
    tmp_path: Path, content: str, description: bytes, stays: bool
) -> None:
    """It goes when a boot has the same bytes by now, and is kept when it is all there is of them.

    The boot that read it is gone, so no run could finish it: the session is whole all the same.
    """
    with SessionWriter.open(prepare(tmp_path)) as writer:
        writer.write("incoming/another-boot/tkA.raw", region(OLD_TEXT, content), compressed=True)
        if description:
            writer.write("incoming/another-boot/tkA.json", description)
    result, session = run(tmp_path, new_machine())
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert session.manifest.state == "recovered" and not session.list("incoming/")
    aside = "boots/1/other-copies/another-boot/"
    assert [session.read(n) for n in session.list(aside) if n.endswith(".raw")] == (
        [region(OLD_TEXT, content)] if stays else []
    )
    remarks = [d for d in result.diagnostics if d.code == "region-left-over"]
    assert [d.message.endswith(f"it is in {aside}") for d in remarks] == [True] * stays
    lacks = "its description is not of these bytes" if description else "it has no description"
    assert all(lacks in d.message for d in remarks)
    assert sorted(session.list(aside)) == [
        *[f"{aside}tkA.json.other"] * bool(description), *[f"{aside}tkA.raw"] * stays
    ]  # fmt: skip
    again, _ = run(tmp_path, new_machine(), name="again")
    assert "region-left-over" not in codes(again)


def test_a_description_of_bytes_that_are_gone_makes_no_copy_a_double(tmp_path: Path) -> None:
    """What a killed recover described, and what it then copied over it: neither stands for Y's."""
    lost, kept = region(OLD_TEXT, "lost"), region(OLD_TEXT, "kept")
    copy = SavedRegion(
        "tkA", TKA, REGION, "kcore", "KHO", "X", hashlib.sha256(lost).hexdigest(),
        bytes(64).hex(), directory="incoming/X/",
    )  # fmt: skip
    with SessionWriter.open(prepare(tmp_path)) as writer:
        writer.write("incoming/X/tkA.raw", kept, compressed=True)
        writer.write("incoming/X/tkA.json", copy.encode())
    run(tmp_path, new_machine())
    with SessionWriter.open(tmp_path / "S") as writer:
        writer.write("incoming/Y/tkA.raw", lost, compressed=True)
    _, session = run(tmp_path, new_machine(), name="again")
    assert session.read("boots/1/other-copies/X/tkA.raw") == kept
    assert session.read("boots/1/other-copies/Y/tkA.raw") == lost


def test_a_copy_of_a_kernel_that_left_nothing_else(tmp_path: Path) -> None:
    """A recover that was killed had copied it, of a kernel that is in no session: kept aside."""
    data = region(OLD_TEXT, "of nobody here")
    copy = SavedRegion(
        "tkZ", 0x7_0000_0000, len(data), "kcore", "KHO", "another-boot",
        hashlib.sha256(data).hexdigest(), bytes(64).hex(), directory="incoming/another-boot/",
    )  # fmt: skip
    with SessionWriter.open(prepare(tmp_path)) as writer:
        writer.write(f"{copy.base}.raw", data, compressed=True)
        writer.write(f"{copy.base}.json", copy.encode())
    result, session = run(tmp_path, new_machine())
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert session.manifest.state == "recovered" and not session.list("incoming/")
    assert session.read("boots/1/other-copies/another-boot/tkZ.raw") == data
    (remark,) = [d for d in result.diagnostics if d.code == "region-left-over"]
    assert remark.severity == "warning"
    assert remark.message.endswith("is in boots/1/other-copies/another-boot/")
