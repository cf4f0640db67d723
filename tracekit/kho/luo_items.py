"""LUO's header, sessions, files and shared objects, and systemd's token map, as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracekit.errors import Diagnostic, ParseError, SourceError
from tracekit.kho.fdt import parse_fdt
from tracekit.kho.handlers import FileState, describe_data, file_contents
from tracekit.kho.item import Item, item, size_text, unreadable
from tracekit.kho.luo import (
    LUO,
    Flb,
    LuoFile,
    LuoHeader,
    LuoLists,
    LuoSession,
    parse_luo,
    read_luo,
)
from tracekit.kho.memory import Reader
from tracekit.kho.token_map import SESSION, TOKEN, StoredFile, parse_token_map
from tracekit.kho.tree_items import remark_items, tree_items, unknown_items

__all__ = ["luo_items", "session_items"]

_FDT_MAGIC = b"\xd0\x0d\xfe\xed"
_SHOWN = 16
_DESCRIBED = 1 << 10  # files of all sessions that are described


def _state(state: FileState) -> Iterator[Item]:
    for label, value in state.facts:
        yield item(label, value)
    if state.folios:
        pieces = (
            item(f"page {folio.index}", f"{folio.address:#x}", children=())
            for folio in state.folios[:_SHOWN]
        )
        yield item("where", f"the first {min(len(state.folios), _SHOWN)}", children=pieces)
    if state.problem:
        yield unreadable("not read", state.problem)


def _size(state: FileState) -> str:
    return "" if state.size is None else f", {size_text(state.size)}"


def _file(file: LuoFile, read: Reader) -> Item:
    state = describe_data(file.compatible, file.data, read)
    note = "" if state.known else "No version of a handler that tracekit knows."
    return item(
        f"token {file.token:#x}",
        f"{file.compatible or 'no handler'}{_size(state)}",
        f"{state.kind}. {note}",
        _state(state),
        amiss=not state.known or bool(state.problem),
    )


def _flb(flb: Flb, read: Reader) -> Item:
    state = describe_data(flb.name, flb.data, read)
    return item(
        flb.name or "no name",
        f"{flb.count} files depend on it",
        state.kind,
        _state(state),
        amiss=not state.known or bool(state.problem),
    )


def _stored(files: Sequence[StoredFile]) -> Iterator[Item]:
    units = dict.fromkeys(file.unit for file in files)
    for unit in units:
        mine = [file for file in files if file.unit == unit]
        children = (
            item(
                file.name or "no name",
                f"token {file.token:#x}" if file.token is not None
                else f"session {file.session}" if file.session is not None else file.kind,
            )
            for file in mine
        )  # fmt: skip
        yield item(unit, f"{len(mine)} files", children=children)


def _token_map(session: LuoSession, read: Reader) -> Iterator[Item]:
    """The map of systemd, where this is its session."""
    mine = [f for f in session.files if f.token == TOKEN] if session.name == SESSION else []
    for file in mine:
        state = describe_data(file.compatible, file.data, read)
        try:
            stored = parse_token_map(file_contents(state, read))
        except (ParseError, SourceError) as error:
            yield unreadable("token map", error)
            continue
        note = "The file descriptors that systemd keeps for its units."
        yield item("token map", f"{len(stored)} files", note, _stored(stored))


def session_items(sessions: Sequence[LuoSession], read: Reader) -> Iterator[Item]:
    """Sessions and their files; of very many the first."""
    left = _DESCRIBED
    for session in sessions:
        files = [_file(file, read) for file in session.files[:left]]
        left -= len(files)
        total = session.count if session.count is not None else "an unknown number of"
        short = session.count is not None and session.count != len(session.files)
        value = f"{total} files" + (f", {len(session.files)} of them read" if short else "")
        children = [*_token_map(session, read), *files]
        amiss = short or any(child.amiss for child in children)
        yield item(session.name or "no name", value, children=children, amiss=amiss)


def _lists(header: LuoHeader, lists: LuoLists, read: Reader) -> Iterator[Item]:
    beyond = "They lie in memory that was preserved, but is not at hand."
    if lists.sessions is None:
        where = "unknown" if header.sessions is None else f"{header.sessions:#x}"
        yield item("sessions", where, beyond)
    elif not header.sessions:
        note = "A kernel that has not jumped yet writes them down when it leaves."
        yield item("sessions", "none", note)
    else:
        yield item(
            "sessions", f"{len(lists.sessions)}, at {header.sessions:#x}",
            children=session_items(lists.sessions, read),
            amiss=not lists.sessions,
        )  # fmt: skip
    if lists.flbs is None:
        where = "unknown" if header.objects is None else f"{header.objects:#x}"
        yield item("shared objects", where, beyond)
    else:
        children = (_flb(flb, read) for flb in lists.flbs)
        yield item("shared objects", len(lists.flbs) or "none", children=children)


def luo_items(data: bytes, read: Reader) -> Iterator[Item]:
    """All of LUO's blob; ``read`` reads what it points to."""
    remarks: list[Diagnostic] = []
    try:
        header = parse_luo(data, LUO, remarks.append)
    except ParseError as error:
        yield item("not known", "", str(error), amiss=True)
        yield from unknown_items(data)
        return
    yield item("compatible", header.compatible or "no version: feature bits")
    if header.form == "features":
        yield item("features", header.feature_names)
    updates = "unknown" if header.updates is None else header.updates
    yield item("live updates", updates)
    yield from _lists(header, read_luo(header, read, LUO, remarks.append), read)
    if data.startswith(_FDT_MAGIC):
        yield item("device tree", children=tree_items(parse_fdt(data, LUO)))
    yield from remark_items(remarks)
