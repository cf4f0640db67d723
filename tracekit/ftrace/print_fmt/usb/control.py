"""``usb_decode_ctrl()``, drivers/usb/common/debug.c: a USB control request in words.

Requests of a class or a vendor, and those that are not known, are printed in words since 6.1 and
stable kernels of then (5.10.150); before, the numbers were taken for standard ones, or bytes were
printed. A standard request to a recipient that it is not for prints nothing, so what was there.
"""

from __future__ import annotations

from collections.abc import Callable

from tracekit.ftrace.print_fmt.usb.decoder import Form, Kernel, Show
from tracekit.ftrace.print_fmt.values import Unresolved

__all__ = ["control_request_text"]

_FEATURES = {  # usb_decode_device_feature()
    0: "Self Powered", 1: "Remote Wakeup", 2: "Test Mode", 48: "U1 Enable", 49: "U2 Enable",
    50: "LTM Enable",
}  # fmt: skip
_TEST_MODE = 2
_TESTS = {1: "TEST_J", 2: "TEST_K", 3: "TEST_SE0_NAK", 4: "TEST_PACKET", 5: "TEST_FORCE_EN"}
_DESCRIPTORS = {  # usb_decode_get_set_descriptor(); the numbers are those of ch9.h
    1: "Device", 2: "Configuration", 3: "String", 4: "Interface", 5: "Endpoint",
    6: "Device Qualifier", 7: "Other Speed Config", 8: "Interface Power", 9: "OTG", 10: "Debug",
    11: "Interface Association", 15: "BOS", 16: "Device Capability", 36: "Pipe Usage",
    48: "SS Endpoint Companion", 49: "SSP Isochronous Endpoint Companion",
}  # fmt: skip
_DEVICE, _INTERFACE, _ENDPOINT = range(3)
_RECIPIENTS = {_DEVICE: "Device", _INTERFACE: "Interface", _ENDPOINT: "Endpoint"}
_CLASSES = {0: "Standard", 1: "Class", 2: "Vendor"}

#: Of bmRequestType, bRequest, wValue, wIndex, wLength; None where nothing is printed.
_Request = Callable[[int, int, int, int, int], str | None]


def _endpoint(index: int) -> str:
    return f"ep{index & ~0x80}{'in' if index & 0x80 else 'out'}"


def _status(to: int, _request: int, _value: int, index: int, length: int) -> str | None:
    texts = {
        _DEVICE: f"Device Status(Length = {length})",
        _INTERFACE: f"Interface Status(Intf = {index}, Length = {length})",
        _ENDPOINT: f"Endpoint Status({_endpoint(index)})",
    }
    text = texts.get(to & 31)
    return None if text is None else f"Get {text}"


def _feature(to: int, request: int, value: int, index: int, _length: int) -> str | None:
    name = _FEATURES.get(value, "UNKNOWN")
    test = f": {_TESTS.get(index, 'UNKNOWN')}" if value == _TEST_MODE else ""
    texts = {
        _DEVICE: f"Device Feature({name}{test})",
        _INTERFACE: f"Interface Feature({'Function Suspend' if value == 0 else 'UNKNOWN'})",
        _ENDPOINT: f"Endpoint Feature({'Halt' if value == 0 else 'UNKNOWN'} {_endpoint(index)})",
    }
    text = texts.get(to & 31)
    return None if text is None else f"{'Clear' if request == 1 else 'Set'} {text}"


def _descriptor(_to: int, request: int, value: int, _index: int, length: int) -> str:
    name = _DESCRIPTORS.get(value >> 8, "UNKNOWN")
    verb = "Get" if request == 6 else "Set"
    return f"{verb} {name} Descriptor(Index = {value & 0xFF}, Length = {length})"


_STANDARD: dict[int, _Request] = {
    0: _status,
    1: _feature,
    3: _feature,
    5: lambda _t, _r, value, _i, _l: f"Set Address(Addr = {value:02x})",
    6: _descriptor,
    7: _descriptor,
    8: lambda _t, _r, _v, _i, length: f"Get Configuration(Length = {length})",
    9: lambda _t, _r, value, _i, _l: f"Set Configuration(Config = {value & 0xFF})",
    10: lambda _t, _r, _v, index, length: f"Get Interface(Intf = {index}, Length = {length})",
    11: lambda _t, _r, value, index, _l: (
        f"Set Interface(Intf = {index}, Alt.Setting = {value & 0xFF})"
    ),
    12: lambda _t, _r, _v, index, length: f"Synch Frame(Endpoint = {index}, Length = {length})",
    48: lambda _t, _r, _v, _i, length: f"Set SEL(Length = {length})",
    49: lambda _t, _r, value, _i, _l: f"Set Isochronous Delay(Delay = {value & 0xFF} ns)",
}


def _other(to: int, request: int, value: int, index: int, length: int) -> str:
    """``usb_decode_ctrl_generic()``."""
    return (
        f"Type={_CLASSES.get(to >> 5 & 3, 'Unknown')} "
        f"Recipient={_RECIPIENTS.get(to & 31, 'Unknown')} Dir={'IN' if to & 0x80 else 'OUT'} "
        f"bRequest={request} wValue={value} wIndex={index} wLength={length}"
    )


def control_request_text(kernel: Kernel) -> Show:
    """What the kernel prints of a request.

    Raises :class:`Unresolved` for a form that no kernel is known to have.
    """
    if kernel.form is Form.STATIC:
        raise Unresolved("usb_decode_ctrl()")
    in_words = kernel.form is Form.READER

    def text(*request: int) -> str:
        shown = ", ".join(map(str, request))
        standard = _STANDARD.get(request[1]) if not request[0] >> 5 & 3 else None
        made: str | None = None
        if standard is not None:
            made = standard(*request)
        elif in_words:
            made = _other(*request)
        return f"(?usb_decode_ctrl({shown}))" if made is None else made

    return text
