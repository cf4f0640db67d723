"""``show --web`` and those whom it is not for: other pages, other users, a hostile directory."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.browser import Served, serving
from tests.support.waiting import HANG, Standstill

#: A shell that reads it does something else.
NAME = """a b;$(touch ran)`touch ran`[red]'"&|é.tar.zst"""
#: What the interface, its server and Python itself import.
IMPORTED = (
    "tracekit", "tui", "textual", "textual_serve", "aiohttp", "jinja2", "rich", "click", "numpy",
    "pyarrow", "json", "typing", "site", "sitecustomize", "usercustomize",
)  # fmt: skip
_WEBSOCKET = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dHJhY2VraXQgYXR0YWNrZQ==",
}  # fmt: skip


def hostile(directory: Path) -> Path:
    """A directory with a session, and with code that leaves ``ran`` there when it is run."""
    directory.mkdir()
    for name in IMPORTED:
        code = f"open({str(directory / 'ran')!r}, 'w').write({name!r}); raise SystemExit\n"
        (directory / f"{name}.py").write_text(code)
        if name in ("tui", "tracekit"):
            (directory / name).mkdir()
            (directory / name / "__init__.py").write_text(code)
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        shutil.copy(shipped, directory / NAME)
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile(tmp_path_factory.mktemp("web") / "hostile")


@pytest.fixture(scope="module")
def address(directory: Path) -> Iterator[str]:
    with serving(NAME, cwd=directory) as served:
        yield served.address


def status(address: str, path: str, headers: dict[str, str], *, websocket: bool) -> int:
    """What the server answers to a request with these headers besides its own ``Host``."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=HANG)
    connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    sent = {"Host": parts.netloc, **(_WEBSOCKET if websocket else {}), **headers}
    for name, value in sent.items():
        for each in value.split("\n"):
            connection.putheader(name, each)
    connection.endheaders()
    found = connection.getresponse().status
    connection.close()
    return found


PATHS = ["", "ws", "static/js/textual.js", "static/", "download/key"]


def test_the_address_opens_and_says_what_it_is(address: str) -> None:
    parts = urlsplit(address)
    assert re.fullmatch(r"/[\w-]{43}/", parts.path)
    assert status(address, parts.path, {}, websocket=False) == 200
    for host in ("127.0.0.1", "localhost", "LOCALHOST"):
        own = {"Host": f"{host}:{parts.port}", "Origin": f"http://{host}:{parts.port}"}
        assert status(address, parts.path, own, websocket=False) == 200
    for path, code in {"static/js/textual.js": 200, "download/key": 404, "../etc": 404}.items():
        assert status(address, parts.path + path, {}, websocket=False) == code


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://evil.example:PORT"},
        {"Origin": "https://127.0.0.1:PORT"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},  # another user's server: the same site to a browser
        {"Origin": "http://localhost:PORT"},  # not what Host says
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:PORT\nhttp://evil.example"},
        {"Host": "evil.example:PORT"},  # DNS rebinding: Host and Origin agree
        {"Host": "evil.example:PORT", "Origin": "http://evil.example:PORT"},
        {"Host": "127.0.0.1.evil.example:PORT", "Origin": "http://127.0.0.1.evil.example:PORT"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "192.168.1.1:PORT"},
        {"Host": ""},
        {"Host": ":PORT"},
    ],
    ids=lambda headers: " ".join(f"{k}={v!r}" for k, v in headers.items()),
)  # fmt: skip
def test_a_page_from_elsewhere_is_refused(address: str, path: str, headers: dict[str, str]) -> None:
    parts = urlsplit(address)
    sent = {name: value.replace("PORT", str(parts.port)) for name, value in headers.items()}
    for websocket in (False, True):
        assert status(address, parts.path + path, sent, websocket=websocket) == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "begin", ["/", "/TOKE/", "/TOKENx/", "/token/", "/x/../TOKEN/", "//TOKEN/", "/%00TOKEN/"]
)
def test_who_does_not_know_the_token_is_refused(address: str, begin: str, path: str) -> None:
    token = urlsplit(address).path.strip("/")
    tokens = {"TOKEN": token, "TOKE": token[:-1], "token": token.swapcase()}
    asked = begin
    for name in ("TOKEN", "TOKE", "token"):
        if name in asked:
            asked = asked.replace(name, tokens[name])
            break
    for websocket in (False, True):
        assert status(address, asked + path, {}, websocket=websocket) == 403
    for elsewhere in (f"/{path}?token={token}", f"/{path}?{token}"):
        assert status(address, elsewhere, {"Cookie": f"token={token}"}, websocket=False) == 403


def test_a_request_for_another_server_is_refused(address: str) -> None:
    path = f"http://evil.example{urlsplit(address).path}"
    assert status(address, path, {}, websocket=False) == 403


def test_what_is_no_request_is_not_quoted(address: str) -> None:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=HANG) as connection:
        connection.sendall(b"\x1b[31m nonsense\r\n\r\n")
        assert b" 400 " in connection.recv(1 << 16).partition(b"\r\n")[0]


def test_only_this_machine_can_reach_it(address: str) -> None:
    assert listening(urlsplit(address).port) == {"0100007F"}


def listening(port: int | None) -> set[str]:
    """The addresses at which a TCP port is listened at, as /proc/net/tcp writes them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    lines += Path("/proc/net/tcp6").read_text().splitlines()[1:]
    local = [line.split()[1].split(":") for line in lines if line.split()[3] == "0A"]
    return {where for where, number in local if int(number, 16) == port}


def test_the_page_asks_nobody_else(address: str) -> None:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=HANG)
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    policy = answer.headers["Content-Security-Policy"]
    connection.close()
    sources = set(re.findall(r"[a-z]+://\S+?(?=;| |$)", policy))
    assert sources == {f"ws://{parts.netloc}"}
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers.get("Access-Control-Allow-Origin") is None


async def use(address: str, *steps: tuple[str, str]) -> None:
    """Open the interface as the page does. Each step: keys to press, what is shown then."""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{address}ws?width=80&height=24", max_msg_size=0) as page,
    ):
        for keys, expected in steps:
            if keys:
                await page.send_json(["stdin", keys])
            shown = ""
            while expected not in shown:
                message = await page.receive(timeout=HANG)
                assert message.type is aiohttp.WSMsgType.BINARY, (message, shown)
                text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", message.data.decode("utf-8", "replace"))
                shown += text
        await page.send_json(["stdin", "q"])


def test_neither_code_nor_names_in_the_directory_run(address: str, directory: Path) -> None:
    before = sorted(directory.iterdir())
    asyncio.run(use(address, ("", "blackout "), ("x", "no export from here")))
    assert not (directory / "ran").exists()
    assert sorted(directory.iterdir()) == before  # and nothing was exported


def test_export_has_to_be_allowed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with serving("--allow-export", "--view", "tables", cwd=work) as (address, _):
        asyncio.run(use(address, ("", "sched_switch"), ("x", "esc does not"), ("\r", ".csv: ")))
    assert [path.suffix for path in work.iterdir()] == [".csv"]


def children(process: int) -> list[Path]:
    """The /proc directories of a process's children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(stat.parent)
    return found


def is_alive(process: Path) -> bool:
    """Whether a process (its /proc directory) runs: one that nobody waits for does not."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_interface_outlives_its_server(tmp_path: Path, number: signal.Signals) -> None:
    async def run(served: Served) -> list[Path]:
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{served.address}ws") as page,
        ):
            await page.receive(timeout=HANG)  # it draws
            started = children(served.server.pid)
            served.server.send_signal(number)
            return started

    with serving(cwd=tmp_path) as served:
        (interface,) = asyncio.run(run(served))
        served.server.wait(HANG)  # another signal while Python ends would end it otherwise
        standstill = Standstill()
        while is_alive(interface):
            assert not standstill.lasts(None), "it runs on"
            time.sleep(0.05)


def test_every_run_has_a_token_of_its_own_and_others_are_let_in_where_asked(
    address: str, tmp_path: Path
) -> None:
    with serving("--host", "0.0.0.0", cwd=tmp_path) as (everywhere, _):
        parts = urlsplit(everywhere)
        assert parts.path != urlsplit(address).path
        assert parts.hostname == socket.gethostname().lower()
        assert listening(parts.port) == {"00000000"}
        here = f"http://127.0.0.1:{parts.port}/"
        answers = {
            host: status(here, parts.path, {"Host": f"{host}:{parts.port}"}, websocket=False)
            for host in (socket.gethostname(), "192.168.1.1", "[fe80::1]", "evil.example")
        }
        assert list(answers.values()) == [200, 200, 200, 403]
