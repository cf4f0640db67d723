"""LUO's sessions as the running kernel has them, read from its own memory.

No file shows them, and to ask for one through ``/dev/liveupdate`` takes it. The kernel's lists
(``luo_session_global`` in ``kernel/liveupdate/luo_session.c``, ``luo_file_handler_list`` in
``luo_file.c``) are found by kallsyms, their members by BTF; ``/proc/kcore`` has the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tracekit.capture.kho.kernel_view import KernelView
from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.kho.luo import LuoFile, LuoHeader, LuoSession, read_luo
from tracekit.kho.memory import Reader

__all__ = ["LiveFile", "LiveSession", "LuoState", "luo_state_from_dict", "read_state"]

_MOST_SESSIONS, _MOST_FILES, _MOST_HANDLERS = 1 << 12, 1 << 14, 64
_NAME, _COMPATIBLE = 64, 48


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A preserved file: its handler, the handler's data, the token.

    ``retrieved``: 1 if it was, 0 if not, negative the error of trying; None where it is not known.
    """

    handler: str
    data: int
    token: int
    retrieved: int | None


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session; ``retrieved``: by whoever opened it in this kernel, None where not known."""

    name: str
    retrieved: bool | None
    files: tuple[LiveFile, ...]

    def plain(self) -> LuoSession:
        """As it is handed over."""
        files = tuple(LuoFile(f.handler, f.data, f.token) for f in self.files)
        return LuoSession(self.name, len(files), files)


@dataclass(frozen=True, slots=True)
class LuoState:
    """``incoming``: the sessions that came and are not finished; ``outgoing``: those to be kept.

    ``opened``: whether ``/dev/liveupdate`` was opened since, which is when the kernel takes up
    what came; before, ``incoming`` is as the old kernel wrote it. ``handlers``: the kinds of files
    that can be preserved.
    """

    incoming: tuple[LiveSession, ...]
    outgoing: tuple[LiveSession, ...]
    opened: bool | None
    handlers: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def _file_from(document: Mapping[str, Any]) -> LiveFile:
    data, token, got = (document[key] for key in ("data", "token", "retrieved"))
    if not all(isinstance(value, int) for value in (data, token, got or 0)):
        raise TypeError("no numbers")
    return LiveFile(str(document["handler"])[:_COMPATIBLE], data, token, got)


def _session_from(document: Mapping[str, Any]) -> LiveSession:
    files = tuple(_file_from(one) for one in document["files"][:_MOST_FILES])
    retrieved = document["retrieved"]
    return LiveSession(
        str(document["name"])[:_NAME], None if retrieved is None else bool(retrieved), files
    )


def luo_state_from_dict(document: Mapping[str, Any]) -> LuoState:
    """What :meth:`LuoState.as_dict` made.

    Raises :class:`KeyError` or :class:`TypeError` for anything else.
    """
    incoming, outgoing = (
        tuple(_session_from(one) for one in document[key][:_MOST_SESSIONS])
        for key in ("incoming", "outgoing")
    )
    opened = document["opened"]
    handlers = tuple(str(name)[:_COMPATIBLE] for name in document["handlers"][:_MOST_HANDLERS])
    return LuoState(incoming, outgoing, None if opened is None else bool(opened), handlers)


def _files(view: KernelView, session: int) -> Iterator[LiveFile]:
    head = session + view.offset("luo_session", "file_set.files_list")
    at = {name: view.offset("luo_file", name) for name in ("fh", "serialized_data", "token")}
    handler = view.offset("liveupdate_file_handler", "compatible")
    status = view.has("luo_file", "retrieve_status")
    got = view.offset("luo_file", "retrieve_status" if status else "retrieved")
    for file in view.entries(head, "luo_file", "list", _MOST_FILES):
        state = view.number(file + got, 4 if status else 1)
        yield LiveFile(
            view.text(view.number(file + at["fh"]) + handler, _COMPATIBLE),
            view.number(file + at["serialized_data"]),
            view.number(file + at["token"]),
            state - (1 << 32) if state >> 31 else state,
        )


def _sessions(view: KernelView, header: int) -> Iterator[LiveSession]:
    head = header + view.offset("luo_session_header", "list")
    name, got = view.offset("luo_session", "name"), view.offset("luo_session", "retrieved")
    for session in view.entries(head, "luo_session", "list", _MOST_SESSIONS):
        yield LiveSession(
            view.text(session + name, _NAME),
            bool(view.number(session + got, 1)),
            tuple(_files(view, session)),
        )


def _pending(view: KernelView, header: int, read: Reader) -> tuple[LiveSession, ...] | None:
    """The sessions that came and that nobody has asked for yet; None where there are none."""
    if not view.has("luo_session_header", "block_set.head_pa"):
        return None
    address = view.number(header + view.offset("luo_session_header", "block_set.head_pa"))
    if not address:
        return None
    layout = 5 if view.has("luo_file_set", "block_set") else 4
    found = read_luo(LuoHeader("", None, address, 0, layout=layout), read)
    if found.sessions is None:
        raise SourceError(f"the sessions at {address:#x} cannot be read")
    return tuple(
        LiveSession(
            s.name, None, tuple(LiveFile(f.compatible, f.data, f.token, None) for f in s.files)
        )
        for s in found.sessions
    )


def _handlers(view: KernelView) -> Iterator[str]:
    """Texts in the handlers: an array, or where it is a pointer what it points to."""
    compatible = view.offset("liveupdate_file_handler", "compatible")
    head = view.symbol("luo_file_handler_list")
    for handler in view.entries(head, "liveupdate_file_handler", "list", _MOST_HANDLERS):
        yield view.text(handler + compatible, _COMPATIBLE)


def read_state(view: KernelView, read: Reader) -> LuoState:
    """The state; ``read`` reads physical memory.

    Raises :class:`~tracekit.errors.SourceError`, saying what is missing: LUO is not in this
    kernel, or its types are not known.
    """
    both = view.symbol("luo_session_global")
    incoming = both + view.offset("luo_session_global", "incoming")
    outgoing = both + view.offset("luo_session_global", "outgoing")
    active = view.number(incoming + view.offset("luo_session_header", "active"), 1)
    pending = _pending(view, incoming, read)
    came = tuple(_sessions(view, incoming))
    return LuoState(
        pending if pending is not None else came,
        tuple(_sessions(view, outgoing)),
        pending is None if active else None,
        tuple(_handlers(view)),
    )
