"""The KHO view: its tree, what is told of each node, and its keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, matches_snapshot, screen_text, until
from tests.support.kho.machines import OUTGOING, old
from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.session_trees import make_session
from tracekit.browse.kho_tree import Item, read_kho_tree
from tracekit.capture.save.snapshot import snapshot
from tracekit.sysroot import Sysroot
from tui.app import TracekitApp
from tui.kho import ItemTree, KhoView

Piloted = Pilot[Any]
Script = Callable[[TracekitApp, Piloted, ItemTree], Any]


def kho(script: Script, path: Path | None = None, size: tuple[int, int] = (80, 24)) -> None:
    """Run ``script`` on the KHO view, once everything is read."""

    async def run(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("5")
        view = app.query_one(KhoView)
        await until(pilot, lambda: view.complete, "the tree is read")
        await pilot.pause()
        await script(app, pilot, app.query_one(ItemTree))

    drive(run, path, size)


def selected(tree: ItemTree) -> Item:
    assert tree.cursor_node is not None
    assert tree.cursor_node.data is not None
    return tree.cursor_node.data


async def to(pilot: Piloted, tree: ItemTree, start: str) -> Item:
    """Go down to the last node whose label and value begin like this."""
    await pilot.press("G")
    for _ in range(40):
        item = selected(tree)
        if f"{item.label} {item.value}".startswith(start):
            await pilot.pause()
            return item
        await pilot.press("k")
    raise AssertionError(f"there is no {start}")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_snapshot(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        await to(pilot, tree, "tkA 0x7d600000-0x7da00000, 4 MiB, ")
        await matches_snapshot(pilot, f"kho-{size[0]}x{size[1]}")

    kho(script, size=size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 48), (250, 80)])
def test_the_tree_and_a_regions_fill_are_seen(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        assert app.model is not None
        text = screen_text(app)
        for part in ("7.2.13 → 7.3.4", "KHO tree", "kho-v4", "memblock", "tkA"):
            assert part in text
        region = await to(pilot, tree, "tkA 0x7d600000-0x7da00000, 4 MiB, ")
        text = screen_text(app)
        assert "CPU 0" in text
        fill = region.fills[0]
        assert f"{fill.committed / fill.capacity:.1%}" in text
        assert "█" in text
        assert all(len(line) <= size[0] for line in text.splitlines())
        handed = read_kho_tree(app.model.recording, lambda done, total: None)
        assert region in handed.items[0].children[1].children

    kho(script, size=size)


def test_keys() -> None:
    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        first = selected(tree)
        for down, up in (("j", "k"), ("down", "up")):
            await pilot.press(down)
            assert selected(tree) is not first
            await pilot.press(up)
            assert selected(tree) is first
        await to(pilot, tree, "scratch areas")
        lines = tree.last_line
        await pilot.press("l")  # opens
        await pilot.pause()
        assert tree.last_line == lines + 3
        await pilot.press("right")  # into it
        assert selected(tree).label.startswith("0x")
        await pilot.press("h")  # out of it
        assert selected(tree).label == "scratch areas"
        await pilot.press("left")  # closes
        await pilot.pause()
        assert tree.last_line == lines
        for key in ("enter", "space"):
            await pilot.press(key)
        await pilot.pause()
        assert tree.last_line == lines
        await pilot.press("home")
        assert selected(tree) is first
        for key in ("pagedown", "pageup", "home", "end"):
            await pilot.press(key)

    kho(script)


def test_what_is_told_follows_the_cursor() -> None:
    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        await to(pilot, tree, "kexec-metadata")
        assert "previous kernel" in screen_text(app)
        assert "7.2.13" in screen_text(app)
        await to(pilot, tree, "preserved memory map")
        assert "used up the" in screen_text(app)

    kho(script)


def test_a_session_without_kho_says_so(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        text = screen_text(app)
        assert "The session holds no KHO data" in text
        assert "--region" in text
        assert "recovered regions" in text
        assert selected(tree).children[0].label == "tkA"

    kho(script, make_session(tmp_path, layout_615([RingBuffer(4)])))


def test_a_session_without_anything(tmp_path: Path) -> None:
    session = make_session(tmp_path, layout_615([RingBuffer(4)]))
    for path in (session / "boots/0/regions").iterdir():
        path.unlink()

    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        assert "No preserved region was recovered." in screen_text(app)
        for key in ("j", "k", "l", "h", "home", "G", "enter", "space", "pagedown", "pageup"):
            await pilot.press(key)

    kho(script, session)


def test_a_damaged_tree_is_shown_as_damaged(session: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(session("handover-7.2-tsc"), broken)
    (broken / "boots/1/kho/in/fdt").write_bytes(b"\x1b[2J" * 30)

    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        item = await to(pilot, tree, "KHO tree")
        assert item.amiss
        text = screen_text(app)
        assert "cannot be read" in text
        assert "not a flattened device tree" in text
        assert "tkA" in text  # from the memblock blob, which is whole
        assert "\x1b" not in text

    kho(script, broken)


def test_another_theme_keeps_the_place() -> None:
    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        item = await to(pilot, tree, "memblock")
        app.theme = "textual-light"
        await pilot.pause()
        await until(pilot, lambda: tree.cursor_node is not None and selected(tree) == item)

    kho(script)


def test_the_sections_of_either_kernel(tmp_path: Path) -> None:
    """Opened when they are asked for; the picture of memory fits beside the tree."""
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")

    async def script(app: TracekitApp, pilot: Piloted, tree: ItemTree) -> None:
        await pilot.press("l")
        await pilot.pause()
        await to(pilot, tree, "Preserved map")
        text = screen_text(app)
        assert "one sign is 4 MiB" in text
        assert max(line.count("s") for line in text.splitlines()) >= 32  # a row of scratch
        await to(pilot, tree, "Live state")
        assert "2 to be handed on" in screen_text(app)

    kho(script, tmp_path / "S", size=(112, 40))
