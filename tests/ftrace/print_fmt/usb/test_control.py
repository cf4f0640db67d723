"""USB control requests in words."""

from __future__ import annotations

import pytest

from tests.support.text_records import evaluate

STANDARD = [  # alike in all kernels
    ("0x80, 0, 0, 0, 2", "Get Device Status(Length = 2)"),
    ("0x81, 0, 0, 3, 2", "Get Interface Status(Intf = 3, Length = 2)"),
    ("0x82, 0, 0, 0x81, 2", "Get Endpoint Status(ep1in)"),
    ("0x00, 3, 1, 0, 0", "Set Device Feature(Remote Wakeup)"),
    ("0x00, 1, 48, 0, 0", "Clear Device Feature(U1 Enable)"),
    ("0x00, 3, 2, 4, 0", "Set Device Feature(Test Mode: TEST_PACKET)"),
    ("0x00, 3, 2, 9, 0", "Set Device Feature(Test Mode: UNKNOWN)"),
    ("0x00, 3, 7, 4, 0", "Set Device Feature(UNKNOWN)"),
    ("0x01, 3, 0, 0, 0", "Set Interface Feature(Function Suspend)"),
    ("0x02, 1, 0, 2, 0", "Clear Endpoint Feature(Halt ep2out)"),
    ("0x02, 3, 1, 0x83, 0", "Set Endpoint Feature(UNKNOWN ep3in)"),
    ("0x00, 5, 17, 0, 0", "Set Address(Addr = 11)"),
    ("0x80, 6, 0x0100, 0, 18", "Get Device Descriptor(Index = 0, Length = 18)"),
    ("0x80, 6, 0x0302, 0x409, 255", "Get String Descriptor(Index = 2, Length = 255)"),
    ("0x80, 6, 0x0f00, 0, 5", "Get BOS Descriptor(Index = 0, Length = 5)"),
    ("0x00, 7, 0x3000, 0, 6", "Set SS Endpoint Companion Descriptor(Index = 0, Length = 6)"),
    ("0x80, 6, 0x2200, 0, 6", "Get UNKNOWN Descriptor(Index = 0, Length = 6)"),
    ("0x80, 8, 0, 0, 1", "Get Configuration(Length = 1)"),
    ("0x00, 9, 0x101, 0, 0", "Set Configuration(Config = 1)"),
    ("0x81, 10, 0, 1, 1", "Get Interface(Intf = 1, Length = 1)"),
    ("0x01, 11, 2, 1, 0", "Set Interface(Intf = 1, Alt.Setting = 2)"),
    ("0x82, 12, 0, 1, 2", "Synch Frame(Endpoint = 1, Length = 2)"),
    ("0x00, 48, 0, 0, 6", "Set SEL(Length = 6)"),
    ("0x00, 49, 40, 0, 0", "Set Isochronous Delay(Delay = 40 ns)"),
]


@pytest.mark.parametrize(("request_", "expected"), STANDARD)
def test_standard_requests(request_, expected):
    for place in ("__get_buf(500)", "__get_str(str)"):
        assert evaluate(f"usb_decode_ctrl({place}, 500, {request_})", "%s") == expected


OTHERS = [  # in words since 6.1
    ("0x21, 9, 512, 0, 1",
     "Type=Class Recipient=Interface Dir=OUT bRequest=9 wValue=512 wIndex=0 wLength=1"),
    ("0xc0, 0, 0, 65535, 8",
     "Type=Vendor Recipient=Device Dir=IN bRequest=0 wValue=0 wIndex=65535 wLength=8"),
    ("0xe3, 1, 0, 0, 0",
     "Type=Unknown Recipient=Unknown Dir=IN bRequest=1 wValue=0 wIndex=0 wLength=0"),
    ("0x82, 2, 0, 0, 0",
     "Type=Standard Recipient=Endpoint Dir=IN bRequest=2 wValue=0 wIndex=0 wLength=0"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "expected"), OTHERS)
def test_other_requests(request_, expected):
    numbers = ", ".join(str(int(number, 0)) for number in request_.split(", "))
    assert evaluate(f"usb_decode_ctrl(__get_buf(500), 500, {request_})", "%s") == expected
    old = evaluate(f"usb_decode_ctrl(__get_str(str), 500, {request_})", "%s")
    assert old == f"(?usb_decode_ctrl({numbers}))"


def test_a_recipient_that_a_request_is_not_for_prints_nothing_new():
    for request in (0, 3):
        shown = evaluate(f"usb_decode_ctrl(__get_buf(500), 500, 3, {request}, 0, 0, 0)", "%s")
        assert shown == f"(?usb_decode_ctrl(3, {request}, 0, 0, 0))"


def test_a_form_that_no_kernel_has():
    assert evaluate("usb_decode_ctrl(0, 5, 1, 0, 0)", "%s") == "(?usb_decode_ctrl(0, 5, 1, 0, 0))"
