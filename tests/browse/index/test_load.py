"""A kept index is believed only where it is whole, ours and of this session."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions.kept_index import json_values, kept_in, quiet, remarks
from tracekit.browse.index import load as kept
from tracekit.browse.index.codec import encode
from tracekit.browse.index.load import ABOUT, DATA, ROWS, load
from tracekit.browse.open import Opened, open_recording
from tracekit.errors import TracekitError
from tracekit.query.selection import Selection
from tracekit.query.sort import order_by
from tracekit.query.toggles import tally
from tracekit.report.make import Report
from tracekit.session import Session
from tracekit.session.derived import INDEX, stamp
from tracekit.session.owned import marks


@pytest.mark.slow
def test_a_kept_recording_touches_only_what_is_asked_for(place: Callable[[str], Path]) -> None:
    found = kept_in(place("same-boot-wide-7.2"))
    assert found is not None
    columns = [found.recording.axis.ts_ns, found.recording.rows.kind, found.index.tasks.order]
    assert not any(column.flags.owndata or column.flags.writeable for column in columns)
    assert all(isinstance(b.data, memoryview) and b.data.readonly for b in found.recording.buffers)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed", ["manifest.json", "boots/0/kernel.json", "boots/0/regions/tkA.raw.zst", "boots/new"]
)
def test_an_index_is_stale_when_anything_changed(small: Path, changed: str) -> None:
    open_recording(small, quiet, many=0)
    assert kept_in(small) is not None
    if (small / changed).exists():
        os.utime(small / changed, ns=(1, 1))
    else:
        (small / changed).write_text("new")
    assert kept_in(small) is None
    again = open_recording(small, quiet, many=0)
    assert kept_in(small) is not None and not remarks(again)


def test_a_session_may_move_with_its_index(small: Path, tmp_path: Path) -> None:
    open_recording(small, quiet, many=0)
    moved = small.rename(tmp_path / "moved")
    found = kept_in(moved)
    assert found is not None and found.report.session == str(moved)


def test_a_copied_index_is_not_believed(small: Path, tmp_path: Path) -> None:
    open_recording(small, quiet, many=0)
    shutil.copytree(small, tmp_path / "copy")  # with the times of change, as tar keeps them
    assert kept_in(tmp_path / "copy") is None


@pytest.mark.parametrize(
    "name", [ROWS, *(pytest.param(n, marks=pytest.mark.slow) for n in (DATA, ABOUT))]
)
@pytest.mark.parametrize(
    "damage",
    [
        "flip",
        *(
            pytest.param(d, marks=pytest.mark.slow)
            for d in ("fifo", "cut", "grow", "empty", "gone", "link", "open")
        ),
    ],
)
def test_a_damaged_index_does_not_exist(small: Path, name: str, damage: str) -> None:
    open_recording(small, quiet, many=0)
    file = small / INDEX / name
    size = file.stat().st_size
    if damage == "flip":
        with file.open("r+b") as f:
            f.seek(size // 2)
            byte = f.read(1)[0]
            f.seek(size // 2)
            f.write(bytes([byte ^ 1]))
    elif damage in ("cut", "grow", "empty"):
        os.truncate(file, {"cut": size - 1, "grow": size + 1, "empty": 0}[damage])
    elif damage == "open":
        file.chmod(0o666)  # anybody could have written it
    else:
        away = file.rename(small / "away")
        if damage == "link":
            file.symlink_to(away)
        elif damage == "fifo":
            os.mkfifo(file)
    assert kept_in(small) is None
    again = open_recording(small, quiet, many=0)
    assert len(again.recording) == 5018 and kept_in(small) is not None


@contextmanager
def hostile_index(path: Path) -> Iterator[Path]:
    """A copy of a session's index that can be changed."""
    with tempfile.TemporaryDirectory() as where:
        for name in (ROWS, DATA, ABOUT):
            shutil.copy(path / INDEX / name, where)
        yield Path(where)


def signed(index: Path, body: Any = None) -> None:
    """Make ``about.json`` vouch for the files as they are now."""
    file = index / ABOUT
    document = json.loads(file.read_bytes().partition(b"\n")[2]) if body is None else body
    if body is None:
        found = {}
        for name in (DATA, ROWS):
            with (index / name).open("rb") as opened:
                found[name] = marks(opened.fileno())
        document[1] = encode(found)
    text = json.dumps(document).encode()
    file.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)


def use(opened: Opened) -> None:
    """Look at everything, as the views do."""
    recording = opened.recording
    every = np.arange(len(recording))
    for part in np.array_split(every, 10):
        for ask in (recording.table, recording.fields, recording.name_codes):
            with suppress(TracekitError):
                ask(part)
    for group in kept.GROUPS:
        groups = getattr(opened.index, group)
        assert all(len(groups.rows(i)) >= 0 for i in range(len(groups.keys)))


@pytest.mark.slow
@given(data=st.data())
def test_a_forged_index_is_an_error_at_worst(place: Callable[[str], Path], data: Any) -> None:
    """Its values are wild, and it vouches for them itself: still nothing but an error."""
    path = place("same-boot-7.2")
    opened = Session.open(path)
    with hostile_index(path) as index:
        name = data.draw(st.sampled_from([ROWS, ROWS, DATA]))
        raw = bytearray((index / name).read_bytes())
        for _ in range(data.draw(st.integers(1, 8))):
            near_an_end = st.integers(0, 3000) | st.integers(len(raw) - 3000, len(raw) - 1)
            at = data.draw(near_an_end | st.integers(0, len(raw) - 1))
            new = data.draw(st.binary(min_size=1, max_size=16))
            raw[at : at + len(new)] = new
        if data.draw(st.booleans()):
            del raw[data.draw(st.integers(0, len(raw))) :]
        (index / name).write_bytes(raw)
        signed(index)
        if (found := load(opened, stamp(opened), index)) is not None:
            use(Opened(*found))


def test_a_forged_index_that_is_not_changed_is_read(place: Callable[[str], Path]) -> None:
    """What the test above forges would be believed but for its values."""
    path = place("same-boot-7.2")
    opened = Session.open(path)
    with hostile_index(path) as index:
        assert load(opened, stamp(opened), index) is None
        signed(index)
        assert load(opened, stamp(opened), index) is not None


def last_value(rows: bytes, column: str) -> tuple[int, int]:
    """Where in the file of rows the last value of a column is, and its size."""
    whole = pa.py_buffer(rows)
    with pa.ipc.open_file(pa.BufferReader(whole)) as file:
        values = file.get_batch(0).column(column)
    size = values.type.bit_width // 8
    at = values.buffers()[1].address - whole.address + (values.offset + len(values) - 1) * size
    return at, size


@pytest.mark.slow
@pytest.mark.parametrize("column", ["kind", "buffer", "offset", "length", "comm"])
def test_a_value_out_of_bounds_is_a_clear_error(place: Callable[[str], Path], column: str) -> None:
    path = place("same-boot-7.2")
    opened = Session.open(path)
    with hostile_index(path) as index:
        raw = bytearray((index / ROWS).read_bytes())
        last, size = last_value(bytes(raw), column)
        raw[last : last + size] = b"\xff" * (size - 1) + b"\x7f"
        (index / ROWS).write_bytes(raw)
        signed(index)
        found = load(opened, stamp(opened), index)
        assert found is not None
        recording = found[0]
        assert len(recording.table(np.arange(10))) == 10
        with pytest.raises(TracekitError, match="remove SESSION/index"):
            recording.table(np.array([len(recording) - 1]))
        looked_up = {"kind": ("event", "source"), "comm": ("comm",)}
        for name in looked_up.get(column, ()):
            with pytest.raises(TracekitError, match="remove SESSION/index"):
                list(tally(recording, name, Selection(len(recording))))
            with pytest.raises(TracekitError, match="remove SESSION/index"):
                order_by(recording, None, name, False, lambda done, total: None)


def replaced(document: Any, draw: Callable[[Any], Any]) -> Any:
    """The document with one value somewhere in it replaced."""
    document = copy.deepcopy(document)
    node = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], (dict, list)) or not node[key] or draw(st.booleans()):
            node[key] = draw(json_values)
            return document
        node = node[key]


@pytest.mark.slow
@given(data=st.data())
def test_a_forged_description_is_refused_or_sound(place: Callable[[str], Path], data: Any) -> None:
    path = place("handover-7.2-tsc")
    opened = Session.open(path)
    with hostile_index(path) as index:
        signed(index)
        body = json.loads((index / ABOUT).read_bytes().partition(b"\n")[2])
        signed(index, replaced(body, data.draw))
        found = load(opened, stamp(opened), index)
        if found is not None:
            recording, report, *_ = found
            assert isinstance(report, Report)
            with suppress(TracekitError):  # too few tasks' names, say
                assert len(recording.table(np.arange(20), args=False)) == 20


def test_an_index_behind_a_link_is_not_read(small: Path, tmp_path: Path) -> None:
    open_recording(small, quiet, many=0)
    (small / INDEX).rename(tmp_path / "real")
    (small / INDEX).symlink_to(tmp_path / "real")
    assert kept_in(small) is None
