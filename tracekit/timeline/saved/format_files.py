"""Where the formats of one boot's events are: files of the newest save, then earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from tracekit.errors import FormatError, SessionError
from tracekit.ftrace.format import EventFormat, parse_format
from tracekit.session import Session
from tracekit.session.earlier import FORMATS, earlier_file, event_id, read_formats

__all__ = ["FormatFile", "format_files", "parsed"]

_KEPT = 1 << 13  # formats: a kernel has three thousand
_NAMED = 20  # contradictions that get a remark each; the rest are counted
_SETS = 8  # of formats that are kept
_EVENTS = "tracefs/events/"
Formats = Mapping[str, bytes | None]
Note = Callable[[str, str, str], None]
"""``note(code, where, message)``"""


class FormatFile(NamedTuple):
    """The format of ``system:name``: its ``text``. ``source`` names it in messages."""

    system: str
    name: str
    source: str
    text: str

    @property
    def full_name(self) -> str:
        """``system:name``."""
        return f"{self.system}:{self.name}"


@lru_cache(_KEPT)
def _parsed(text: str, system: str) -> EventFormat | None:
    """The format in a text; None where there is none."""
    try:
        return parse_format(text, system, "")
    except FormatError:
        return None


def parsed(text: str, system: str, source: str) -> EventFormat:
    """The format in a text, which is taken apart once: boots mostly have the same ones.

    Raises :class:`~tracekit.errors.FormatError`, which names the ``source``.
    """
    return _parsed(text, system) or parse_format(text, system, source)


_Placed = tuple[dict[int, FormatFile], list[tuple[str, str, str]]]


@lru_cache(_KEPT)
def _read(data: bytes) -> tuple[str, int | None]:
    """(a format's text, the event's id in it)."""
    text = data.decode("utf-8", "backslashreplace")
    return text, event_id(text)


class _Same:
    """A boot's formats, told by which they are, not by what they equal: boots share them."""

    def __init__(self, formats: Formats) -> None:
        self.formats = formats

    def __hash__(self) -> int:
        return id(self.formats)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.formats is self.formats


def _placed(formats: Formats, read: Callable[[str], bytes]) -> _Placed:
    """Id -> format, and what is remarked on; ``read`` gives those that are files of their own."""
    files: dict[int, FormatFile] = {}
    remarks = []
    for rel, data in formats.items():
        directory, _, file_name = rel.rpartition("/")
        if file_name != "format":
            continue
        path = f"{_EVENTS}{rel}"
        system, _, name = directory.rpartition("/")
        try:
            text, number = _read(read(path) if data is None else data)
        except SessionError as error:
            remarks.append(("format-unreadable", path, str(error)))
            continue
        file = FormatFile(system.rpartition("/")[2], name, path, text)
        if number is None:
            remarks.append(("format-invalid", path, "there is no event id in it"))
        elif number in files:
            message = f"id {number} is also that of {files[number].source}, which is used"
            remarks.append(("format-contradiction", path, message))
        else:
            files[number] = file
    return files, remarks


@lru_cache(_SETS)
def _shared(same: _Same) -> _Placed:
    return _placed(same.formats, lambda rel: b"")  # none is a file of its own


def _of_newest_save(session: Session, boot: int, note: Note) -> dict[int, FormatFile]:
    formats = session.formats(boot)
    if None in formats.values():
        files, remarks = _placed(formats, lambda rel: session.read(f"boots/{boot}/{rel}"))
    else:
        files, remarks = _shared(_Same(formats))
    for remark in remarks:
        note(*remark)
    return dict(files)


def _earlier(session: Session, boot: int, note: Note) -> Iterator[tuple[int, FormatFile]]:
    path = earlier_file(boot, FORMATS)
    if not session.has(path):
        return
    try:
        formats = read_formats(session.read(path))
    except (SessionError, ValueError) as error:
        note("format-unreadable", path, str(error))
        return
    for entry in formats:
        file = FormatFile(entry.system, entry.name, f"{path} {entry.name}", entry.text)
        number = event_id(entry.text)
        if number is None:
            note("format-invalid", file.source, "there is no event id in it")
        else:
            yield number, file


def _fields(text: str) -> str:
    """What says how a record is laid out; the print fmt changes when a module brings its enums."""
    return text.partition("print fmt:")[0].rstrip()


def format_files(session: Session, boot: int, note: Note) -> dict[int, FormatFile]:
    """Event id -> where its format is.

    An id that had another format at an earlier save is remarked on: the newest is used.
    """
    files = _of_newest_save(session, boot, note)
    earlier = list(_earlier(session, boot, note))
    clashes: dict[int, FormatFile] = {}
    layouts: dict[int, str] = {}
    for number, file in earlier:
        now = files.setdefault(number, file)
        if number not in clashes and now is not file:
            layout = layouts.get(number) or _fields(now.text)
            other = layout != _fields(file.text)
            layouts[number] = layout
            if other or now.full_name != file.full_name:
                clashes[number] = file
    for number, file in list(clashes.items())[:_NAMED]:
        now = files[number]
        what = f"was {file.full_name} at an earlier save and is {now.full_name} now"
        if now.full_name == file.full_name:
            what = f"had another format at an earlier save, of the same name {now.full_name}"
        note(
            "format-contradiction", now.source,
            f"id {number} {what}: the newer is used for all its events",
        )  # fmt: skip
    if len(clashes) > _NAMED:
        note("format-contradiction", "", f"{len(clashes) - _NAMED} more ids had two formats")
    return files
