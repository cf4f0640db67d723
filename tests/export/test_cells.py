"""Cells of CSV: nothing that a spreadsheet would run, and every text can be had back."""

from __future__ import annotations

import csv
import io
import re

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.imports import ROOT
from tracekit.export.cells import as_cells, guarded, unguarded

BEGINNINGS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_formula_is_text(beginning: str) -> None:
    text = f"{beginning}cmd|' /C calc'!A0"
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", ["-1", "+1.5", "-.5e-3", "", "a=1", "'quoted'", "x -1", "'", " ="])
def test_the_rest_is_left_alone(text: str) -> None:
    assert guarded(text) == unguarded(text) == text


@given(st.text(alphabet=st.sampled_from(f"'1e.{BEGINNINGS}ab "), max_size=8) | st.text())
def test_every_text_can_be_had_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    number = cell.lstrip("+-").replace(".", "").replace("e", "").replace("+", "").replace("-", "")
    assert cell[:1] not in set(BEGINNINGS) or number.isdecimal()


def test_numbers_and_missing_names_stay() -> None:
    table = pa.table(
        {
            "ts_ns": pa.array([-5, 7], pa.int64()),
            "comm": pa.array(["-bash", None]).dictionary_encode(),
            "args": ["=1+1", "-3"],
        }
    )
    out = io.BytesIO()
    pyarrow.csv.write_csv(as_cells(table), out)
    rows = list(csv.reader(io.StringIO(out.getvalue().decode())))
    assert rows[1:] == [["-5", "'-bash", "'=1+1"], ["7", "", "-3"]]


def test_an_empty_table() -> None:
    table = pa.table({"comm": pa.array([], pa.string()).dictionary_encode()})
    assert as_cells(table).to_pydict() == {"comm": []}


@given(st.text(alphabet=st.sampled_from(f"'1{BEGINNINGS}a "), max_size=8))
def test_the_documented_way_back_is_one(text: str) -> None:
    (pattern,) = re.findall(r'r"(\^\'.*)", ""', (ROOT / "docs" / "python.md").read_text())
    assert re.sub(pattern, "", guarded(text)) == text
