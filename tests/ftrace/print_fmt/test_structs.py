"""Members of structures in a record; see also the kernels' own texts (test_every_event.py)."""

from __future__ import annotations

import struct

import pytest

from tests.support.text_records import printed
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import parse_format
from tracekit.ftrace.printers.render import make_renderer

FORMAT = """name: e
ID: 1
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:int rect[4];	offset:8;	size:16;	signed:1;
	field:struct mt76_txwi h;	offset:24;	size:8;	signed:0;
	field:struct other o;	offset:32;	size:4;	signed:0;
	field:__data_loc struct drm_rect[] d;	offset:36;	size:4;	signed:0;

print fmt: %s
"""
RECORD = bytes(8) + struct.pack("<4i", 1, -2, 3, 4) + b"\x01\x02\x03\x04\x05\x06\x07\x08" + bytes(8)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("((const struct drm_rect *)REC->rect)->y1", "-2"),
        ("((struct drm_rect *)&REC->rect)->x2 + 1", "4"),
        ("((struct drm_rect *)REC->rect)->z", "(?z)"),
        ("((struct drm_rect *)REC->rect + 1)->x1", "(?x1)"),
        ("((struct drm_rect *)REC->rect)->x1[0]", "(?kernel memory)"),
        ("((struct drm_rect **)REC->rect)->x1", "(?x1)"),
        ("((struct unknown *)REC->rect)->x1", "(?x1)"),
        ("REC->h.rate_ctl", "1027"),
        ("REC->h.wcid", "6"),
        ("REC->h.none", "(?none)"),
        ("REC->o.wcid", "(?wcid)"),
        ("REC->d.x1", "(?x1)"),
        ("REC->d" + "[0]" * 20_000, "(?expression)"),
    ],
)
def test_members(argument: str, text: str) -> None:
    renderer = make_renderer(parse_format(FORMAT % f'"%d", {argument}', "test", "e"), Context())
    assert renderer.render(RECORD) == text
    printed(renderer, [RECORD, bytes(len(RECORD))])


def test_what_a_short_record_lacks() -> None:
    fmt = FORMAT % '"%d %d", ((struct drm_rect *)REC->rect)->x1, REC->h.wcid'
    renderer = make_renderer(parse_format(fmt, "test", "e"), Context())
    assert renderer.render(RECORD[:24]) == "1 (truncated)"
