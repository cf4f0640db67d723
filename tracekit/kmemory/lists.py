"""The kernel's linked lists, walked from both ends: a member that is missing cuts one in two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tracekit.errors import SourceError
from tracekit.kmemory.kernel import Kernel, NoMember, Struct

__all__ = ["Walk", "entries", "entries_back", "walk"]

_MAX_LENGTH = 1 << 18


class Walk(NamedTuple):
    """The nodes of a list in order, those that cannot be read among them.

    Where some are not known, ``broken`` is the number of those before them, and ``why`` says what
    is not there.
    """

    nodes: list[int]
    broken: int | None = None
    why: str = ""


def _one_way(kernel: Kernel, head: int, way: str, limit: int) -> tuple[list[int], str, bool]:
    """The nodes up to the head, or up to one that cannot be read; why, and whether it is that."""
    place = kernel.place("list_head", way)
    if place is None:
        raise NoMember("the kernel's BTF has no struct list_head")
    nodes: list[int] = []
    seen: set[int] = set()
    node = head
    while len(nodes) <= limit:
        try:
            node = kernel.memory.u64(node + place.offset)
        except SourceError as error:
            return nodes, str(error), True
        if node == head:
            return nodes, "", False
        if node in seen:
            return nodes, f"the list at {head:#x} goes round in circles at {node:#x}", False
        seen.add(node)
        nodes.append(node)
    return nodes, f"the list at {head:#x} has more than {limit} members", False


def walk(kernel: Kernel, head: int, limit: int = _MAX_LENGTH) -> Walk:
    """The nodes of a list whose head (``struct list_head``) is at an address."""
    forward, why, unreadable = _one_way(kernel, head, "next", limit)
    if not why:
        return Walk(forward)
    known = set(forward)
    backward, _, _ = _one_way(kernel, head, "prev", limit)
    met = next((i for i, node in enumerate(backward) if node in known), None)
    nodes = forward + backward[:met][::-1]
    if unreadable and met is not None:
        return Walk(nodes)  # all are known: the one that cannot be read was met from both ends
    return Walk(nodes, len(forward), why)


def entries(
    kernel: Kernel, head: int, name: str, link: str, what: str = "", limit: int = _MAX_LENGTH
) -> Iterator[Struct]:
    """The structs in a list that are linked by their member ``link``.

    A list that is cut is remarked on as some of ``what``.
    """
    place = kernel.place(name, link)
    if place is None:
        raise NoMember(f"kernel {kernel.info.release} has no member {link} in struct {name}")
    found = walk(kernel, head, limit)
    if found.broken is not None and what:
        kernel.notes.missing(what, f"after the {found.broken}. of the list", found.why)
    for node in found.nodes:
        yield Struct(kernel, name, node - place.offset)


def entries_back(kernel: Kernel, head: int, name: str, link: str, limit: int) -> list[Struct]:
    """The same from the last to the first."""
    return list(entries(kernel, head, name, link, "", limit))[::-1]
