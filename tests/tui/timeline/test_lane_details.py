"""The lines below the lanes."""

from __future__ import annotations

from tests.support.driver import screen_text
from tests.support.views.timeline_view import Piloted, choose, timeline
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.state import LaneState


def test_the_strip_below_tells_the_event_under_the_cursor() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.go(-2_890_503)
        await pilot.pause()
        text = screen_text(app)
        assert "▸ -2.890503 ms  " in text and "python3 [76]  device:shutdown" in text
        assert "device=0000:00:1f.2 driver= bus_master=0 function=pci_device_shutdown" in text
        choose(state, "initcalls")
        model.go(2_482_775_185)
        await pilot.pause()
        await pilot.press("w")
        assert "acpi_init  148 ms  from 2.482775185 s  boot 1  subsys" in screen_text(app)

    timeline(script)
