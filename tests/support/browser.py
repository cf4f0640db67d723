"""``tracekit show --web``, and a headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.support.waiting import HANG, Standstill

__all__ = ["Page", "Served", "chromium", "open_page", "serving"]

_ROOT = Path(__file__).parents[2]

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=1100,700",
)  # fmt: skip


def chromium() -> str | None:
    """The browser's path, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Served(NamedTuple):
    """A ``show --web`` that runs, and the address that it printed."""

    address: str
    server: subprocess.Popen[str]


@contextlib.contextmanager
def serving(*arguments: str | Path, cwd: Path) -> Iterator[Served]:
    """Runs ``show --web`` in ``cwd``, as the script does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-P", "-m", "tracekit", "show", "--web", "--port", str(port)]
    server = subprocess.Popen(
        [*command, *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        yield Served(server.stdout.readline().strip(), server)
        server.terminate()
        _, said = server.communicate(timeout=HANG)
        assert "Traceback" not in said
        assert server.returncode in (0, -signal.SIGKILL)
    finally:
        server.kill()
        server.communicate()


class Page:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self._received = ""  # what the page's own sockets brought it: the terminal's output
        self.requests: list[str] = []  # the addresses that it asked for
        self.complaints: list[str] = []  # errors and messages on its console

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol, wait for its answer."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        while True:
            answer = await self._socket.receive_json(timeout=HANG)
            if answer.get("method") == "Network.webSocketFrameReceived":
                frame = answer["params"]["response"]
                data = frame["payloadData"]
                if frame["opcode"] == 2:
                    data = base64.b64decode(data).decode("utf-8", "replace")
                self._received += data
            self._note(answer)
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def _note(self, message: dict[str, Any]) -> None:
        """Keep what the page asks for, and what it complains of."""
        about = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif message.get("method") in (
            "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded",
        ):  # fmt: skip
            self.complaints.append(json.dumps(about)[:500])

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is worth."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait for a JavaScript expression to become true."""
        standstill = Standstill()
        while not await self.value(expression):
            if standstill.lasts(await self.value("document.documentElement.outerHTML")):
                raise AssertionError(f"never became true: {expression}")
            await asyncio.sleep(0.1)

    async def shows(self, *texts: str) -> None:
        """Wait until the terminal was sent all of these, and forget what it was sent."""
        standstill = Standstill()
        while not all(text in self._received for text in texts):
            if standstill.lasts(self._received):
                raise AssertionError(f"never shown: {texts}")
            await asyncio.sleep(0.1)
            await self.value("0")  # takes what has come in meanwhile
        self._received = ""

    async def key(self, text: str) -> None:
        """Press a key that makes one character, in the page's terminal."""
        await self.value("document.querySelector('.xterm-helper-textarea').focus()")
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, text=text, key=text)

    async def picture(self) -> bytes:
        """The page as PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])


@contextlib.asynccontextmanager
async def open_page(url: str, profile: Path) -> AsyncIterator[Page]:
    """A page of a new browser, with an empty profile in ``profile``, at ``url``."""
    browser = chromium()
    assert browser is not None
    process = subprocess.Popen(
        [browser, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port_file = profile / "DevToolsActivePort"
        standstill = Standstill()
        while not (port_file.exists() and port_file.read_text().strip()):
            assert process.poll() is None, "the browser ended"
            assert not standstill.lasts(None), "the browser does not listen"
            await asyncio.sleep(0.1)
        port = port_file.read_text().split()[0]
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = json.loads(await answer.text())
            target = next(p for p in pages if p["type"] == "page")["webSocketDebuggerUrl"]
            async with http.ws_connect(target, max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Network", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                yield page
    finally:
        process.terminate()
        process.wait(30)
