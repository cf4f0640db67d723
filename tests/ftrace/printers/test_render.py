from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.text_records import ALPHA, CTX, formats_of, make_format, record
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.printers.render import Renderer, make_renderer, unknown_renderer


def line(renderer: Renderer, payload: bytes) -> str:
    return renderer.prefix + renderer.render(payload) + renderer.suffix


def test_an_event_is_named_before_its_text():
    fields = [("int value", 8, 4, True)]
    fmt = make_format("mine", "event", fields, '"value=%d", REC->value')
    assert line(make_renderer(fmt, CTX), record(fmt, value=-3)) == "event: value=-3"


def test_built_in_events_have_no_name():
    fields = [("unsigned long ip", 8, 8, False), ("unsigned long parent_ip", 16, 8, False)]
    fmt = make_format("ftrace", "function", fields)
    assert line(make_renderer(fmt, CTX), record(fmt, ip=ALPHA)) == "alpha"


def test_what_cannot_be_compiled_shows_its_fields():
    fmt = make_format("mine", "event", [("int value", 8, 4, True)], '"%d", (REC->value')
    shown = line(make_renderer(fmt, CTX), record(fmt, value=77))
    assert shown.startswith("event: ")
    assert "value=" in shown
    assert "77" in shown
    broken = make_format("ftrace", "function", [("int value", 8, 4, True)])
    assert "77" in line(make_renderer(broken, CTX), record(broken, value=77))


def test_unknown_events():
    assert line(unknown_renderer(1325), b"\x01\x02") == "Unknown type 1325 0102"
    assert unknown_renderer(1).render(bytes(1000)) == "00" * 64 + "..."


def test_older_system_calls():
    fields = [("int __syscall_nr", 8, 4, True), ("unsigned int fd", 16, 8, False)]
    fmt = make_format("syscalls", "sys_enter_close", fields)
    payload = record(fmt, fd=20)
    assert line(make_renderer(fmt, CTX), payload) == "sys_close(fd: 0x14)"
    assert line(make_renderer(fmt, CTX, bare_syscalls=True), payload) == "sys_close(fd: 14)"


def test_a_record_too_short_says_so():
    fields = [("unsigned long ip", 8, 8, False), ("unsigned long parent_ip", 16, 8, False)]
    renderer = make_renderer(make_format("ftrace", "function", fields), CTX)
    assert renderer.render(bytes(9)) == "[record of 9 bytes does not fit its format]"


@pytest.fixture(scope="module")
def renderers(capture) -> list[tuple[EventFormat, Renderer]]:
    """Every event of a real kernel."""
    events = capture("same-boot-wide-7.2") / "old/sys/kernel/tracing/events"
    ctx = Context(CTX.symbols, CTX.printk_formats, CTX.comms, 250)
    return [(f, make_renderer(f, ctx)) for f in formats_of(events).values()]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=400))
def test_no_bytes_raise(renderers, payload):
    for fmt, renderer in renderers:
        assert isinstance(renderer.render(payload), str), fmt.full_name
        assert isinstance(renderer.render(memoryview(payload)), str)
