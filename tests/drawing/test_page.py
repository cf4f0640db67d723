"""The HTML report: one file, safe whatever the session says, and it works in a browser."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Coroutine
from html.parser import HTMLParser
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

import tracekit
from tests.support.bpf_records import BootFiles, region, write_session
from tests.support.browser import Page, chromium, open_page
from tests.support.sessions.hostile_texts import leaks, make_hostile
from tests.support.sessions.live import KALLSYMS, MS, PCI, START, a_device, way_out
from tracekit.cli import main
from tracekit.drawing.page import page

HANDOVERS = ("stock-6.12-panic-tsc", "stock-6.12-carveout-tsc")
NO_JUMP = ("same-boot-wide-7.2", "vmcore-7.2")  # 137 kinds of events; most events are lost
#: What a task calls itself to become part of the page.
INJECTED = "</script><img src=x onerror=document.title='PWN'>"
VOID = {"meta", "rect", "line", "path", "polygon", "circle", "br"}


@pytest.fixture(scope="module")
def demo() -> str:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        return page(tracekit.open(path))


class Elements(HTMLParser):
    """The elements of a page: that they are nested, and what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.all: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser.all


def check_self_contained(text: str) -> None:
    found = elements(text)
    names = {name for name, _ in found}
    assert not names & {"link", "img", "iframe", "object", "embed", "form", "base", "video", "use"}
    for name, attributes in found:
        assert not any(key.startswith("on") or key in ("src", "style") for key in attributes), name
        assert (attributes.get("href") or "#").startswith("#")
    assert sum(name == "script" for name, _ in found) <= 2  # the data, and the page's own
    outside = re.sub(r"http://www\.w3\.org/2000/svg", "", text)
    assert "http:" not in outside and "https:" not in outside and "url(" not in outside
    assert len(text.encode()) < 2_000_000


def test_the_demo_has_every_part(demo: str) -> None:
    check_self_contained(demo)
    targets = {a["id"] for name, a in elements(demo) if name == "section"}
    assert targets >= {
        "story", "phases", "chain", "plot", "timeline", "devices", "initcalls", "steps", "record",
        "clocks", "probes", "last-events", "remarks", "handed-over",
    }  # fmt: skip
    for words in (
        "3.099 s",
        "± 26.3 µs",
        "acpi_init",
        "0000:00:1f.2",
        "dark: until the new kernel",
    ):
        assert words in demo


@pytest.mark.parametrize("name", [*HANDOVERS, *NO_JUMP])
def test_other_sessions(name: str, session: Callable[[str], Path]) -> None:
    text = page(tracekit.open(session(name)))
    check_self_contained(text)
    told = "its memory, read afterwards" if name == "vmcore-7.2" else "no jump in this session"
    assert (told in text) == (name in NO_JUMP)
    assert ("295,833" in text) == (name == "vmcore-7.2")
    sections = {a["id"] for element, a in elements(text) if element == "section"}
    assert ("panic" in sections) == bool(tracekit.open(session(name)).report().panics)


def test_a_panic_is_told_in_the_kernels_words(session: Callable[[str], Path]) -> None:
    text = page(tracekit.open(session("vmcore-7.2")))
    for words in (
        "The panic of CPU 0",
        "NMI: Not continuing&#x27; at 17.28 s (± 1 ns), 17.28 s after the last event",
        "vpanic+0x2f8/0x470",
        "unknown, panicked",
    ):
        assert words in text


def test_a_long_chain_fits(tmp_path: Path) -> None:
    """The last handovers in full, the others a line each."""
    kallsyms: dict[str, str | bytes] = {"kallsyms": KALLSYMS}
    devices = [
        event
        for n in range(120)
        for event in a_device(2 * n, START + 9 * MS + n * MS // 2, MS // 3, f"pci{n}", PCI)
    ]
    boots = [BootFiles(region(sorted([*way_out(), *devices])), files=kallsyms) for _ in range(16)]
    text = page(tracekit.open(write_session(tmp_path / "s", boots)))
    check_self_contained(text)
    assert "Handovers (15)" in text
    assert text.count("<h2>Phases (boot ") in (1, 2, 6, 12)


def test_the_fingerprint_is_of_the_files(session: Callable[[str], Path], tmp_path: Path) -> None:
    path = session("same-boot-7.2")
    mine = tracekit.open(path).session
    assert mine.fingerprint in page(tracekit.open(path))
    copy = shutil.copytree(path, tmp_path / "copy")
    assert tracekit.open(copy).session.fingerprint == mine.fingerprint
    manifest = copy / "manifest.json"
    some = next(iter(mine.manifest.files.values()))
    manifest.write_text(manifest.read_text().replace(some, "0" * len(some), 1))
    assert tracekit.open(copy).session.fingerprint != mine.fingerprint


def test_it_replaces_a_file_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        assert main(["-q", "report", str(path), "--html", str(target)]) == 0
        assert main(["-q", "report", str(path), "--html", str(tmp_path / "no" / "x.html")]) == 3
    assert target.read_text().startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def hostile(session: Callable[[str], Path], tmp_path: Path) -> Path:
    """A session whose tasks, files and remarks try to leave the text they stand in."""
    path = make_hostile(shutil.copytree(session("handover-7.2-to-7.3-tsc"), tmp_path / "s"))
    for file in (path / "boots").glob("*/tracefs/saved_cmdlines"):
        file.write_text(re.sub(r"^(\d+) .*$", rf"\1 {INJECTED}", file.read_text(), flags=re.M))
    for file in (path / "manifest.json", *(path / "boots").glob("*/kernel.json")):
        file.write_text(file.read_text().replace("PWN", INJECTED))
    return path


def test_a_hostile_session_stays_text(session: Callable[[str], Path], tmp_path: Path) -> None:
    text = page(tracekit.open(hostile(session, tmp_path)))
    check_self_contained(text)
    assert "&lt;/script&gt;&lt;img" in text and "<img" not in text and not leaks(text)


# -- in a browser ------------------------------------------------------------------------------

BROWSER = pytest.mark.skipif(
    chromium() is None, reason="Chromium is not installed: the page is not tried in a browser"
)
_DRAWN = "document.querySelectorAll('#lanes svg.live rect').length"
_FIRST = "document.querySelector('#lanes svg.live text.tick').textContent"


async def _quiet(page: Page, url: str) -> None:
    """It asked for nothing but itself, and complained of nothing."""
    await page.until("document.readyState === 'complete'")
    assert set(page.requests) <= {url, url.replace("file:", "file:")}, page.requests
    assert page.complaints == []


def _browse(text: str, script: Callable[[str, Path], Coroutine[Any, Any, None]], at: Path) -> None:
    """Run ``script`` on a page of this text, with a profile of its own, both below ``at``."""
    target = at / "report.html"
    target.write_text(text)
    asyncio.run(script(target.as_uri(), at / "profile"))


async def _zooms(url: str, profile: Path) -> None:
    async with open_page(url, profile) as page:
        await page.until(f"{_DRAWN} > 20")
        before = await page.value(_FIRST)
        await page.value("document.querySelector('[data-act=in]').click()")
        await page.until(f"{_FIRST} !== {before!r}")
        await page.value("document.querySelectorAll('#lanes-keys [data-view]')[1].click()")
        await page.until(
            "[...document.querySelectorAll('#lanes svg.live text.in')]"
            ".some(t => t.textContent === 'acpi_init')"
        )
        assert await page.value("document.documentElement.scrollWidth") <= 1100
        await _quiet(page, url)


@BROWSER
def test_it_draws_and_zooms_and_asks_for_nothing(demo: str, tmp_path: Path) -> None:
    _browse(demo, _zooms, tmp_path)


async def _opens(url: str, profile: Path) -> None:
    async with open_page(url, profile) as page:
        await page.until("document.readyState === 'complete'")
        assert await page.value("document.querySelectorAll('section').length") > 2
        assert await page.value("document.documentElement.scrollWidth") <= 1100
        await _quiet(page, url)


@BROWSER
@pytest.mark.parametrize("name", NO_JUMP)
def test_without_a_jump_it_opens(name: str, session: Callable[[str], Path], tmp_path: Path) -> None:
    _browse(page(tracekit.open(session(name))), _opens, tmp_path)


async def _harmless(url: str, profile: Path) -> None:
    async with open_page(url, profile) as page:
        await page.until("document.querySelector('#lanes svg.live') !== null")
        assert await page.value("document.images.length") == 0
        assert "PWN" not in (await page.value("document.title")).split("<")[0]
        await _quiet(page, url)


@BROWSER
def test_a_hostile_session_runs_nothing(session: Callable[[str], Path], tmp_path: Path) -> None:
    _browse(page(tracekit.open(hostile(session, tmp_path))), _harmless, tmp_path)


async def _narrow_dark_and_printed(url: str, profile: Path) -> None:
    async with open_page(url, profile) as page:
        await page.until("document.readyState === 'complete'")
        light = await page.value("getComputedStyle(document.documentElement).backgroundColor")
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        await page.call("Emulation.setEmulatedMedia", features=dark)
        colour = await page.value("getComputedStyle(document.documentElement).backgroundColor")
        assert (light, colour) == ("rgb(255, 255, 255)", "rgb(18, 22, 29)")
        await page.call("Emulation.setEmulatedMedia", media="print")
        assert await page.value("getComputedStyle(document.querySelector('nav')).display") == "none"
        await page.call("Emulation.setEmulatedMedia", media="", features=[])
        await page.call("Emulation.setDeviceMetricsOverride", width=390, height=800,
                        deviceScaleFactor=1, mobile=False)  # fmt: skip
        assert await page.value("document.documentElement.scrollWidth") <= 390
        await _quiet(page, url)


@BROWSER
def test_dark_narrow_and_print(demo: str, tmp_path: Path) -> None:
    _browse(demo, _narrow_dark_and_printed, tmp_path)
