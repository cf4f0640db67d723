"""What the UCSI driver's names are of numbers."""

from __future__ import annotations

import pytest

from tests.support.text_records import evaluate

NAMES = [
    ("ucsi_cmd_str(0x0000000000010012UL)", "GET_CONNECTOR_STATUS"),
    ("ucsi_cmd_str(0xdbe70005)", "SET_NOTIFICATION_ENABLE"),
    ("ucsi_cmd_str(1)", "PPM_RESET"),
    ("ucsi_cmd_str(0x13)", "GET_ERROR_STATUS"),
    ("ucsi_cmd_str(0x14)", "Unknown command"),
    ("ucsi_cmd_str(REC->ul)", "Unknown command"),
    ("ucsi_cmd_str(0x100)", "Unknown command"),
    ("ucsi_ack_str(1)", "event"),
    ("ucsi_ack_str(2)", "command"),
    ("ucsi_ack_str(3)", ""),
    ("ucsi_cci_str(0x20000000)", "ACK completed"),
    ("ucsi_cci_str(0x80000000)", "Command completed"),
    ("ucsi_cci_str(0xa0000000)", "ACK completed"),
    ("ucsi_cci_str(0x02)", "Connector Change"),
    ("ucsi_cci_str(0x20000002)", "Event pending (ACK completed)"),
    ("ucsi_cci_str(0x80000002)", "Event pending (command completed)"),
    ("ucsi_cci_str(0x10000000)", ""),
    ("ucsi_cci_str(0x80000001)", "(?ucsi_cci_str(2147483649))"),
    ("ucsi_recipient_str(0)", "port"),
    ("ucsi_recipient_str(3)", "plug (double prime)"),
    ("ucsi_recipient_str(4)", "(?ucsi_recipient_str(4))"),
    ("ucsi_recipient_str(REC->i)", "(?ucsi_recipient_str(255))"),
]


@pytest.mark.parametrize(("call", "expected"), NAMES)
def test_names(call, expected):
    assert evaluate(call, "%s") == expected
