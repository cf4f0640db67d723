"""Hostile records and formats: text or a FormatError."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.text_records import formats
from tracekit.errors import FormatError
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.print_fmt.printer import compile_print_fmt, fallback


@pytest.fixture(scope="module")
def real(capture) -> list[EventFormat]:
    return list(formats(capture("same-boot-7.2") / "old").values())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_records_never_raise(real, data):
    fmt = data.draw(st.sampled_from(real))
    payload = data.draw(st.binary(max_size=300))
    for render in (compile_print_fmt(fmt, Context()), fallback(fmt, Context())):
        assert isinstance(render(payload), str)


HOSTILE = st.sampled_from(
    ["%d", "%s", "%*d", "%.*s", "%pI6c", "%*pbl", "%", "(", ")", "{", "}", ",", '"', "REC->",
     "REC", "__get_str(", "__print_flags(", "__print_array(", "[9999999]", "[-1]", "*", "&", "/ 0",
     "% 0", "<< 999", "?", ":", "(u64)", "(char *)", "sizeof", "0xffffffffffffffff", "({", "})",
     "\\", "\n", "-1", "typeof("]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_hostile_formats_raise_only_format_error(real, data):
    fmt = data.draw(st.sampled_from(real))
    text = fmt.print_fmt[:2000]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(HOSTILE) + text[at + cut :]
    broken = EventFormat(fmt.system, fmt.name, fmt.id, fmt.common, fmt.fields, text)
    try:
        render = compile_print_fmt(broken, Context())
    except FormatError:
        return
    for payload in (b"", bytes(64), data.draw(st.binary(max_size=120))):
        assert isinstance(render(payload), str)
