"""A real jump, 7.2.13 to 7.3.4: three sessions of LUO, of which one was taken up and finished."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tracekit.capture.kho.arrival import compare
from tracekit.capture.kho.evidence import Evidence
from tracekit.capture.kho.inspect import sections
from tracekit.capture.kho.saved import from_session
from tracekit.kho.item import Item
from tracekit.session import Session

NAME = "kho-luo-7.2-to-7.3"


@pytest.fixture(scope="module")
def boots(capture: Callable[[str], Path]) -> list[Evidence]:
    session = Session.open(capture(NAME) / "session")
    return [from_session(session, boot, session.kernel(boot)) for boot in session.boots]


def every(item: Item) -> list[Item]:
    return [item, *(one for child in item.children for one in every(child))]


def test_the_map_is_what_the_reader_in_the_guest_found(
    boots: list[Evidence], capture: Callable[[str], Path]
) -> None:
    """That reader went key by key, before the snapshot: a few pages came after it."""
    walked = json.loads((capture(NAME) / "walk.json").read_text())
    kept = boots[0].maps["out"]
    assert {str(order): n for order, n in kept.blocks.items()} == walked["blocks"]
    assert [[a, b - a] for a, b in kept.ranges] == walked["ranges"]


def test_files_by_unit_with_handlers_and_sizes(boots: list[Evidence]) -> None:
    told = {(i.label, i.value) for section in sections(boots[0]) for i in every(section)}
    for pair in (
        ("token 0x1", "memfd-v2, 3 MiB"), ("token 0x2", "memfd-v2, 8 MiB"),
        ("token 0x9", "memfd-v2, 9.766 KiB"), ("web.service", "2 files"),
        ("own", "session vm"), ("seals", "SHRINK, GROW, WRITE"),
    ):  # fmt: skip
        assert pair in told, pair


def test_what_came_is_read_from_the_memory_that_was_saved(boots: list[Evidence]) -> None:
    came = boots[1].came
    assert came is not None and came.opened is False
    assert [s.name for s in came.incoming] == ["vm", "orphan", "systemd"]


def test_what_became_of_it(boots: list[Evidence]) -> None:
    told = {f"{t.kind} {t.name}": t.verdict for t in compare(*boots).things}
    assert told["session vm"] == "arrived"
    assert told["session orphan"] == told["session systemd"] == "not picked up"
    assert told["region tkA"] == told["blob LUO"] == told["blob kexec-metadata"] == "arrived"


def test_only_what_the_kernel_zeroed_is_amiss(boots: list[Evidence]) -> None:
    """LUO's page of the incoming side."""
    before, after = (
        [i.label for section in sections(boot) for i in every(section) if i.amiss] for boot in boots
    )
    assert before == []
    assert set(after) == {"Blobs", "what came from the kernel before", "LUO", "not known"}
