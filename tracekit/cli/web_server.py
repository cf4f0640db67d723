"""``tracekit show --web``: textual-serve, for nobody but whoever was given the address.

A page can make a browser send requests anywhere, this machine's own ports included, and every user
of this machine can reach them. So the path of each request begins with a random token; and ``Host``
and ``Origin`` must be this server's, or a name that somebody else's DNS turned into this address
(DNS rebinding) would do.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from textual_serve.server import Server

from tracekit.cli.common import say, show
from tracekit.errors import SourceError
from tracekit.text import printable

__all__ = ["WebServer"]

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: Nothing is fetched from elsewhere, nothing is told elsewhere, no other page shows this one.
_CONTENT = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self' ws://{host}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_REFUSED = "This is for the address that 'tracekit show --web' printed, token and all.\n"

_PATIENCE = 0.5  # seconds that open pages have at the end: they do not go by themselves
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host of an URL is, None for a name."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    return None


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises :class:`~tracekit.errors.SourceError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server((str(address[0]), port), family=family)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no address"
        raise SourceError(f"cannot listen at {host}, port {port}: {why}") from error


class _Lines(logging.Formatter):
    """One printable line a message: requests are anybody's text, and tracebacks help no user."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(f"{record.levelname.lower()}: {record.getMessage()}")


class WebServer(Server):
    """Runs ``command`` (for a shell) for each page that opens the address with the token."""

    def __init__(self, command: str, host: str, port: int) -> None:
        super().__init__(command, host, port, title="tracekit")
        self._socket = _listen(host, port)
        self._loopback = ipaddress.ip_address(self._socket.getsockname()[0]).is_loopback
        self._token = secrets.token_urlsafe(32)
        self._names = {*_LOOPBACK, host.lower()}
        if not self._loopback:
            self._names.add(socket.gethostname().lower())

    @property
    def address(self) -> str:
        """What to open. A number where that is possible: nobody else can listen there."""
        literal = _literal(self.host)
        host = socket.gethostname() if literal and literal.is_unspecified else self.host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/{self._token}/"

    def serve(self, debug: bool = False) -> None:
        """Serve until SIGINT or SIGTERM."""
        self.debug = debug
        self.initialize_logging()
        web.run_app(
            self._make_app(), sock=self._socket, access_log=None, print=lambda _: self._tell(),
            shutdown_timeout=_PATIENCE,
        )  # fmt: skip

    def initialize_logging(self) -> None:
        """Errors go to stderr, as lines; no log of requests, which have the token."""
        handler = logging.StreamHandler()
        handler.setFormatter(_Lines())
        logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)

    def _tell(self) -> None:
        show(self.address)
        say("whoever has this address can use it; Ctrl-C ends it")
        if not self._loopback:
            say("warning: other machines can reach it, and nothing is encrypted on the way")

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing: it does not listen yet."""

    async def _make_app(self) -> web.Application:
        guarded = web.Application(middlewares=[self._guard])
        guarded.on_response_prepare.append(self._add_headers)
        guarded.add_subapp(f"/{self._token}/", await super()._make_app())
        return guarded

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let only those in who know the token, from pages of this server."""
        begin = "/".join(request.raw_path.split("/", 2)[:2])  # raw: as sent, nothing decoded
        known = secrets.compare_digest(
            begin.encode("utf-8", "surrogateescape"), f"/{self._token}".encode()
        )
        if not (known and self._is_ours(request)):
            return web.Response(status=403, text=_REFUSED)
        return await handler(request)

    def _is_ours(self, request: web.Request) -> bool:
        """Whether ``Host`` is this server, and ``Origin``, where there is one, a page of it."""
        hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        if len(hosts) != 1 or not self._is_host(hosts[0].lower()):
            return False
        return all(origin.lower() == f"http://{hosts[0].lower()}" for origin in origins)

    def _is_host(self, host: str) -> bool:
        name = host.removesuffix(f":{self.port}")
        if name == host and self.port != 80:  # browsers leave out only HTTP's own
            return False
        # A number cannot be rebound, and a machine that serves others has more than one.
        return name in self._names or (not self._loopback and _literal(name) is not None)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        if self._is_ours(request):
            response.headers["Content-Security-Policy"] = _CONTENT.format(host=request.host)

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page; its links are to the host that it was asked of, as its ``Origin`` will be."""
        self.public_url = f"http://{request.host}"
        response: web.StreamResponse = await super().handle_index(request)
        return response
