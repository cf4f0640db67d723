"""Where the formats of one boot's events are: files of the newest save, then earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tracekit.errors import SessionError
from tracekit.session import Session
from tracekit.session.earlier import FORMATS, earlier_file, event_id, read_formats

__all__ = ["FormatFile", "format_files"]

_NAMED = 20  # contradictions that get a remark each; the rest are counted
Note = Callable[[str, str, str], None]
"""``note(code, where, message)``"""


@dataclass(frozen=True, slots=True)
class FormatFile:
    """The format of ``system:name``. ``source`` names it in messages.

    ``kept`` is its text, where that is not a file of its own.
    """

    system: str
    name: str
    source: str
    kept: str | None = None

    @property
    def full_name(self) -> str:
        """``system:name``."""
        return f"{self.system}:{self.name}"

    def text(self, session: Session) -> str:
        """The format's text; raises :class:`~tracekit.errors.SessionError`."""
        if self.kept is not None:
            return self.kept
        return session.read(self.source).decode("utf-8", "backslashreplace")


def _of_newest_save(session: Session, boot: int, note: Note) -> dict[int, FormatFile]:
    files: dict[int, FormatFile] = {}
    for path in session.list(f"boots/{boot}/tracefs/events/"):
        if not path.endswith("/format"):
            continue
        system, name, _ = path.split("/")[-3:]
        file = FormatFile(system, name, path)
        try:
            number = event_id(file.text(session))
        except SessionError as error:
            note("format-unreadable", path, str(error))
            continue
        if number is None:
            note("format-invalid", path, "there is no event id in it")
        elif number in files:
            message = f"id {number} is also that of {files[number].source}, which is used"
            note("format-contradiction", path, message)
        else:
            files[number] = file
    return files


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
            try:
                layout = layouts.get(number) or _fields(now.text(session))
                other = layout != _fields(file.text(session))
            except SessionError:
                continue  # remarked on where it is used
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
