"""Commands and events of a dwc3 controller, by kernel."""

from __future__ import annotations

import pytest

from tests.support.text_records import evaluate, make, show

NAMES = [
    ("dwc3_gadget_ep_cmd_string(6)", "Start Transfer"),
    ("dwc3_gadget_ep_cmd_string(0x20406)", "Start Transfer"),  # the function takes a byte
    ("dwc3_gadget_ep_cmd_string(1)", "Set Endpoint Configuration"),
    ("dwc3_gadget_ep_cmd_string(9)", "Start New Configuration"),
    ("dwc3_gadget_ep_cmd_string(10)", "UNKNOWN command"),
    ("dwc3_gadget_ep_cmd_string(REC->i)", "UNKNOWN command"),
    ("dwc3_gadget_generic_cmd_string(2)", "Set Periodic Parameters"),
    ("dwc3_gadget_generic_cmd_string(0x10)", "Run SoC Bus Loopback Test"),
    ("dwc3_gadget_generic_cmd_string(0x0d)", "(?Set Endpoint Prime)"),
    ("dwc3_gadget_generic_cmd_string(8)", "UNKNOWN"),
    ("dwc3_ep_cmd_status_string(-110)", "Timed Out"),
    ("dwc3_ep_cmd_status_string(0)", "Successful"),
    ("dwc3_ep_cmd_status_string(1)", "No Resource"),
    ("dwc3_ep_cmd_status_string(2)", "Bus Expiry"),
    ("dwc3_ep_cmd_status_string(REC->i)", "UNKNOWN"),
    ("dwc3_gadget_generic_cmd_status_string(-110)", "Timed Out"),
    ("dwc3_gadget_generic_cmd_status_string(1)", "Error"),
    ("dwc3_gadget_generic_cmd_status_string(2)", "UNKNOWN"),
    ("dwc3_trb_type_string(0x10)", "normal"),
    ("dwc3_trb_type_string(0x80)", "link"),
    ("dwc3_trb_type_string(1)", "UNKNOWN"),
]


@pytest.mark.parametrize(("call", "expected"), NAMES)
def test_names(call, expected):
    assert evaluate(call, "%s") == expected


def test_new_commands_have_names_where_formats_have_the_base_address():
    call = '"%s", dwc3_gadget_generic_cmd_string(REC->cmd)'
    new = make(call, "u32 cmd@8:4", "phys_addr_t base_address@16:8")
    texts = [show(new, bytes([number]) + bytes(15)) for number in (7, 13)]
    assert texts == ["Device Notification", "Set Endpoint Prime"]


EVENTS = [  # event, state of endpoint 0: text
    (0x00000101, 0, "Reset [U0]"),
    (0x00000001, 0, "Disconnect: [U0]"),
    (0x000E0301, 0, "Link Change [Reset]"),
    (0x00050201, 0, "Connection Done [RX.Detect]"),
    (0x00000501, 0, "UNKNOWN"),
    (0x00000040, 1, "ep0out: Transfer Complete (sil) [Setup Phase]"),
    (0x0000E042, 3, "ep0in: Transfer Complete (SIL) [Status Phase]"),
    (0x00000040, 4, "ep0out: Transfer Complete (sil) [UNKNOWN]"),
    (0x00006046, 1, "ep1in: Transfer Complete (SIl)"),
    (0x00000106, 0, "ep1in: FIFO"),
    (0x00051186, 0, "ep1in:  Stream 5 Found"),
    (0x00052186, 0, "ep1in:  Stream Not Found"),
    (0x000001C4, 0, "ep1out: Endpoint Command Complete"),
    (0x00000000, 0, "ep0out: UNKNOWN"),
    (0xFFFFFFFE, 0, "ep15in: UNKNOWN"),
]


@pytest.mark.parametrize(("event", "state", "expected"), EVENTS)
def test_events(event, state, expected):
    for place in ("__get_buf(500)", "__get_str(str)"):
        assert evaluate(f"dwc3_decode_event({place}, 500, {event}U, {state})", "%s") == expected


DIFFERENT = [  # as the reader makes the text; as kernels before print it, who differ
    (0x12344086, "ep1in: Transfer In Progress [00001234] (sIm)",
     "ep1in: Transfer In Progress [(?4660)] (sIm)"),
    (0x000010C2, "ep0in: Transfer Not Ready [00000000] (Not Active) [Data Phase]",
     "ep0in: Transfer Not Ready [(?0)] (Not Active) [Data Phase]"),
    (0x0001A0C0, "ep0out: Transfer Not Ready [00000001] (Active) [Status Phase]",
     "ep0out: Transfer Not Ready [(?1)] (Active) [Status Phase]"),
    (0x000080C8, "ep2out: Transfer Not Ready [00000000] (Active)",
     "ep2out: Transfer Not Ready [(?0)] (Active)"),
    (0x00030601, "Suspend [U3]", "(?Suspend) [U3]"),
    (0x000C0401, "WakeUp [UNKNOWN link state]", "WakeUp [(?UNKNOWN link state)]"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "new", "old"), DIFFERENT)
def test_events_that_kernels_print_differently(event, new, old):
    assert evaluate(f"dwc3_decode_event(__get_buf(500), 500, {event}, 0)", "%s") == new
    assert evaluate(f"dwc3_decode_event(__get_str(str), 500, {event}, 0)", "%s") == old


@pytest.mark.parametrize("arguments", ["257", "257, 0", "__get_str(str), 257, 0", ""])
def test_forms_of_which_the_text_is_not_known(arguments):
    assert evaluate(f"dwc3_decode_event({arguments})", "%s").startswith("(?dwc3_decode_event(")
