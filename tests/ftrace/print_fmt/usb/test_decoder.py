"""Any numbers, in any form of a call: a text of a length that the kernel's place has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.text_records import make, show
from tracekit.ftrace.context import Context
from tracekit.ftrace.print_fmt.usb.calls import USB_CALLS

LONGEST = 500  # XHCI_MSG_MAX, DWC3_MSG_MAX
COUNTS = {  # of the numbers; and whether the place's size is given
    "dwc3_decode_event": (2, True), "usb_decode_ctrl": (5, True), "xhci_decode_trb": (4, True),
    "xhci_decode_ctrl_ctx": (2, False), "xhci_decode_doorbell": (2, False),
    "xhci_decode_ep_context": (4, False), "xhci_decode_portsc": (1, False),
    "xhci_decode_slot_context": (4, False),
}  # fmt: skip
FIELDS = [f"u64 n{i}@{8 + 8 * i}:8" for i in range(6)]
PLACES = ("", "__get_str(str), ", "__get_buf(500), ")


def calls(name: str) -> list[str]:
    count, sized = COUNTS.get(name, (1, False))
    numbers = ", ".join(f"REC->n{i}" for i in range(count))
    places = PLACES if name in COUNTS else ("",)
    return [f"{name}({place}{'500, ' * (sized and bool(place))}{numbers})" for place in places]


@pytest.mark.parametrize("name", USB_CALLS)
@given(
    data=st.binary(min_size=48, max_size=48) | st.sampled_from([bytes(48), b"\xff" * 48]),
    release=st.sampled_from(["", "4.12.0", "4.14.1", "5.10.43", "6.8", "6.12.1", "7.3.4", "9"]),
    bus=st.booleans(),
)
def test_any_numbers(name, data, release, bus):
    more = ["u32 busnum@8:4", "u64 dma@8:8"] * bus
    for call in calls(name):
        text = show(make(f'"%s|", {call}', *FIELDS, *more), data, Context(release=release))
        assert text.endswith("|")
        assert 0 < len(text) <= LONGEST
        assert text.isprintable()


@pytest.mark.parametrize("name", COUNTS)
def test_other_forms_are_marked(name):
    for arguments in (
        "",
        "__get_str(str)",
        "REC->n0, " * 8 + "REC->n0",
        "REC->n0, 500, REC->n1, 5",
    ):
        if len(arguments.split(", ")) == COUNTS[name][0]:
            continue
        text = show(make(f'"%s|", {name}({arguments})', *FIELDS), bytes(48))
        assert text.startswith(f"(?{name}(")
        assert text.endswith(")|")


def test_records_that_end_early():
    fmt = make('"%s", xhci_decode_doorbell(REC->n0, REC->n1)', *FIELDS)
    assert show(fmt, bytes(10)) == "(truncated)"
