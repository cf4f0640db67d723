"""``export --format perfetto --open``: hands the trace to ui.perfetto.dev in the user's browser.

The page fetches it from this machine, from the only port that its content policy allows. Nothing is
uploaded: the page works in the browser. Whoever else asks, without the token, gets nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tracekit.errors import SourceError

__all__ = ["TraceServer"]

_PORT = 9001
_PAGE = "https://ui.perfetto.dev"
_PIECE = 1 << 20


class TraceServer(HTTPServer):
    """Serves one file on loopback; ``done`` once it has been fetched whole."""

    allow_reuse_address = True

    def __init__(self, file: Path, port: int = _PORT) -> None:
        """Raises :class:`~tracekit.errors.SourceError` where the port is taken."""
        self.file = file
        self.path = f"/{secrets.token_urlsafe(16)}/{'trace' + ''.join(file.suffixes[-1:])}"
        self.done = False
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise SourceError(
                f"cannot listen at 127.0.0.1, port {port}: {error.strerror}: {_PAGE} fetches from "
                f"no other port; open {_PAGE} and drop {file} on it"
            ) from error

    @property
    def address(self) -> str:
        """What the browser is to open."""
        return f"{_PAGE}/#!/?url=http://127.0.0.1:{self.server_address[1]}{self.path}"

    def serve(self, opened: Callable[[str], object]) -> None:
        """Call ``opened`` with the address, then serve until the page has the trace."""
        with self:
            opened(self.address)
            while not self.done:
                self.handle_request()


class _Handler(BaseHTTPRequestHandler):
    server: TraceServer

    def do_GET(self) -> None:
        """The trace, to the page that was given its address."""
        if self.path != self.server.path:
            self.send_error(404)
            return
        size = self.server.file.stat().st_size
        self.send_response(200)
        self._send_headers(size)
        with self.server.file.open("rb") as file:
            while piece := file.read(_PIECE):
                self.wfile.write(piece)
        self.server.done = True

    def do_OPTIONS(self) -> None:
        """A browser asks before a page of the internet may fetch from this machine."""
        self.send_response(204)
        self._send_headers(0)

    def _send_headers(self, size: int) -> None:
        self.send_header("Access-Control-Allow-Origin", _PAGE)
        self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is asked for is anybody's text."""
