"""What is known of KHO on a machine, from what a session has of one of its boots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tracekit.capture.kho.devices import PciDevice, device_from_dict
from tracekit.capture.kho.evidence import SIDES, Evidence
from tracekit.capture.kho.luo_state import LuoState, luo_state_from_dict
from tracekit.carriers.machine import config_text
from tracekit.errors import ParseError, SessionError
from tracekit.kho.memory import Reader, nowhere, saved_pages
from tracekit.kho.preserved_sum import PreservedMap, preserved_from_dict

__all__ = ["LUO_CAME", "LUO_NOW", "SessionFiles", "from_session"]

#: Files of ``boots/N/kho/``: LUO's sessions, and those that came as an early save found them.
LUO_NOW, LUO_CAME = "luo.json", "luo-came.json"
_OPTION = re.compile(r"^CONFIG_(KEXEC_HANDOVER\w*|LIVEUPDATE\w*)=(.*)$", re.M)


class SessionFiles(Protocol):
    """A session as it is read."""

    def list(self, prefix: str = "") -> Sequence[str]:
        """The files whose names begin so."""

    def has(self, rel: str) -> bool:
        """Whether there is such a file."""

    def read(self, rel: str) -> bytes:
        """A file."""

    def json(self, rel: str) -> Mapping[str, object]:
        """A file of JSON."""


@dataclass(slots=True)
class _Saved:
    """The files of a boot in a session."""

    session: SessionFiles
    base: str
    unseen: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> bytes:
        rel = f"{self.base}/{name}"
        try:
            return self.session.read(rel) if self.session.has(rel) else b""
        except SessionError as error:
            self.unseen[name.rpartition("/")[2]] = str(error)
            return b""

    def json(self, name: str) -> Mapping[str, object] | None:
        rel = f"{self.base}/{name}"
        try:
            return self.session.json(rel) if self.session.has(rel) else None
        except SessionError as error:
            self.unseen[name.rpartition("/")[2].partition(".")[0]] = str(error)
            return None

    def map(self, side: str) -> PreservedMap | None:
        document = self.json(f"kho/{side}/map.json")
        try:
            return preserved_from_dict(document) if document is not None else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self.unseen["map"] = f"map.json is damaged: {error!r:.100}"
            return None

    def luo(self, name: str) -> LuoState | None:
        document = self.json(f"kho/{name}")
        try:
            return luo_state_from_dict(document) if document is not None else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self.unseen["luo"] = f"{name} is damaged: {error!r:.100}"
            return None

    def devices(self) -> list[PciDevice]:
        document = self.json("devices.json")
        try:
            listed = document["devices"] if document is not None else []
            return [device_from_dict(one) for one in list(listed)[: 1 << 12]]  # type: ignore[call-overload]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self.unseen["devices"] = f"devices.json is damaged: {error!r:.100}"
            return []

    def reader(self, side: str) -> Reader:
        data = self.get(f"kho/{side}/memory.bin")
        try:
            return saved_pages(data, f"{self.base}/kho/{side}/memory.bin") if data else nowhere
        except ParseError as error:
            self.unseen[side] = str(error)
            return nowhere


def from_session(session: SessionFiles, boot: int, kernel: Mapping[str, object]) -> Evidence:
    """What a session has of a boot; ``kernel`` is its ``kernel.json``. Nothing is raised."""
    base = f"boots/{boot}"
    saved = _Saved(session, base)
    files = {
        path.removeprefix(f"{base}/kho/"): saved.get(path.removeprefix(f"{base}/"))
        for path in session.list(f"{base}/kho/")
        if not path.endswith((".json", ".bin", ".zst"))
    }
    config = config_text(saved.get("config.gz"))
    release = str(kernel.get("release") or "unknown")
    maps = {side: found for side in SIDES if (found := saved.map(side)) is not None}
    return Evidence(
        where=f"boot {boot}, {release}",
        release=release,
        cmdline=str(kernel.get("cmdline") or ""),
        live=False,
        files=files,
        read={side: saved.reader(side) for side in SIDES},
        maps=maps,
        config=dict(_OPTION.findall(config)) if config else None,
        meminfo=saved.get("meminfo"),
        iomem=saved.get("iomem").decode("utf-8", "backslashreplace"),
        log=saved.get("dmesg").decode("utf-8", "backslashreplace"),
        liveupdate=None,
        luo=saved.luo(LUO_NOW),
        came=saved.luo(LUO_CAME),
        devices=saved.devices(),
        unseen=saved.unseen,
    )
