"""JSON that a reader of doubles does not round, with its schema's number."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tracekit.cli import main
from tracekit.documents import SCHEMA, document_json

DEMO = str(files("tracekit") / "demo" / "handover.tar.zst")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


def numbers(value: Any) -> list[int]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [n for one in value for n in numbers(one)]
    return [value] if isinstance(value, int) else []


@given(st.dictionaries(st.text(max_size=5), VALUES))
def test_no_number_is_rounded(document: dict[str, Any]) -> None:
    read = json.loads(document_json(document))
    assert all(int(float(n)) == n for n in numbers(read))


def test_addresses_are_hexadecimal() -> None:
    document = {"a": [{"address": 4096, "size": 4096}, {"address": "00:1f.0"}], "b": 1 << 60}
    read = json.loads(document_json(document))
    assert read["a"] == [{"address": "0x1000", "size": 4096}, {"address": "00:1f.0"}]
    assert (read["b"], next(iter(read)), read["schema"]) == (hex(1 << 60), "schema", SCHEMA)


@pytest.mark.parametrize("words", [["report", DEMO, "--json"], ["kho", DEMO, "--json"]])
def test_every_document_has_a_schema(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", *words]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == SCHEMA


def test_an_events_addresses_are_those_of_its_record(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-q", "events", DEMO, "--format", "json", "--event", "initcall_finish"]
    assert main(words) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    table = tracekit.open(DEMO).event("initcall:initcall_finish")
    assert [int(line["fields"]["func"], 16) for line in lines] == table["func"].to_pylist()
    assert all(line["fields"]["func"].startswith("0xffffffff") for line in lines)
    assert [line["fields"]["ret"] for line in lines] == table["ret"].to_pylist()
    assert {line["schema"] for line in lines} == {SCHEMA}
