"""The decoders by the names that print formats call them by."""

from __future__ import annotations

from collections.abc import Mapping

from tracekit.ftrace.kernel_printf.ctype import INT, U8, U16, U32, U64
from tracekit.ftrace.print_fmt.usb import control, device, dwc3, trb, typec, xhci
from tracekit.ftrace.print_fmt.usb.decoder import Builder, decoder, naming

__all__ = ["USB_CALLS"]

#: name -> (function that compiles it, fewest arguments, most arguments)
USB_CALLS: Mapping[str, Builder] = {
    "dwc3_decode_event": decoder("dwc3_decode_event", (U32, U32), dwc3.event_text, sized=True),
    "dwc3_ep_cmd_status_string": naming(INT, dwc3.command_status),
    "dwc3_gadget_ep_cmd_string": naming(U8, dwc3.endpoint_command),
    "dwc3_gadget_generic_cmd_status_string": naming(INT, dwc3.generic_status),
    "dwc3_gadget_generic_cmd_string": naming(U8, dwc3.generic_command),
    "dwc3_mode_string": naming(U32, dwc3.mode),
    "dwc3_trb_type_string": naming(U32, dwc3.trb_type),
    "ucsi_ack_str": naming(U8, typec.acknowledged),
    "ucsi_cci_str": naming(U32, typec.completion),
    "ucsi_cmd_str": naming(U64, typec.command),
    "ucsi_recipient_str": naming(U8, typec.recipient),
    "usb_decode_ctrl": decoder(
        "usb_decode_ctrl",
        (U8, U8, U16, U16, U16),
        control.control_request_text,
        sized=True,
    ),
    "usb_speed_string": naming(U32, device.speed),
    "usb_state_string": naming(U32, device.state),
    "xhci_decode_ctrl_ctx": decoder("xhci_decode_ctrl_ctx", (U32, U32), xhci.control_text),
    "xhci_decode_doorbell": decoder("xhci_decode_doorbell", (U32, U32), xhci.doorbell_text),
    "xhci_decode_ep_context": decoder(
        "xhci_decode_ep_context", (U32, U32, U64, U32), xhci.endpoint_text
    ),
    "xhci_decode_portsc": decoder("xhci_decode_portsc", (U32,), xhci.port_text),
    "xhci_decode_slot_context": decoder(
        "xhci_decode_slot_context", (U32, U32, U32, U32), xhci.slot_text
    ),
    "xhci_decode_trb": decoder("xhci_decode_trb", (U32, U32, U32, U32), trb.trb_text, sized=True),
    "xhci_ring_type_string": naming(U32, xhci.ring),
}
