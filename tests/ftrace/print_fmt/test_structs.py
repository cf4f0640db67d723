"""Members of structures in a record; see also the kernels' own texts (test_every_event.py)."""

from __future__ import annotations

import struct

import pytest

from tests.support.text_records import make_format, printed
from tracekit.ftrace.context import Context
from tracekit.ftrace.printers.render import make_renderer

FIELDS = [
    ("int rect[4]", 8, 16, True),
    ("struct mt76_txwi h", 24, 8, False),
    ("struct other o", 32, 4, False),
    ("__data_loc struct drm_rect[] d", 36, 4, False),
]
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
    renderer = make_renderer(make_format("test", "e", FIELDS, f'"%d", {argument}'), Context())
    assert renderer.render(RECORD) == text
    printed(renderer, [RECORD, bytes(len(RECORD))])


def test_what_a_short_record_lacks() -> None:
    shown = '"%d %d", ((struct drm_rect *)REC->rect)->x1, REC->h.wcid'
    renderer = make_renderer(make_format("test", "e", FIELDS, shown), Context())
    assert renderer.render(RECORD[:24]) == "1 (truncated)"
