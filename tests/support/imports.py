"""The import graph, from the source: every import counts, wherever in a module it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "circles", "folder_graph", "import_graph", "sources"]

ROOT = Path(__file__).parents[2]
Graph = Mapping[str, frozenset[str]]


def sources(top: str) -> dict[str, Path]:
    """Module name -> file, of everything below a folder of the checkout."""
    files = sorted((ROOT / top).rglob("*.py"))
    names = (".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files)
    return {name.removesuffix(".__init__"): f for name, f in zip(names, files, strict=True)}


def _imported(tree: ast.AST, modules: Iterable[str]) -> Iterable[str]:
    known = set(modules)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else str(node.module)


@cache
def import_graph(*tops: str) -> Graph:
    """Module -> the modules below ``tops`` that it imports, anywhere in it."""
    files = {name: path for top in tops for name, path in sources(top).items()}
    return {
        name: frozenset(_imported(ast.parse(path.read_text()), files)) & files.keys() - {name}
        for name, path in files.items()
    }


def folder_graph(graph: Graph, parent: str) -> Graph:
    """What is right below ``parent``, a module or a whole folder each -> the same it imports."""

    def child(name: str) -> str | None:
        if not name.startswith(f"{parent}."):
            return None
        return ".".join(name.split(".")[: parent.count(".") + 2])

    edges: dict[str, set[str]] = {}
    for name, imported in graph.items():
        if (mine := child(name)) is not None:
            others = {other for i in imported if (other := child(i)) not in (None, mine)}
            edges.setdefault(mine, set()).update(other for other in others if other)
    return {name: frozenset(others) for name, others in edges.items()}


def circles(graph: Graph) -> list[list[str]]:
    """The sets of nodes that reach one another: none where the graph is one of layers."""
    left, found = {name: set(others) for name, others in graph.items()}, []
    while True:  # what imports nothing any more is on the ground floor
        ground = [name for name, others in left.items() if not others & left.keys()]
        if not ground:
            break
        for name in ground:
            del left[name]
    while left:  # and what nothing imports is on top: what remains lies on circles, or between
        imported = set().union(*left.values())
        top = [name for name in left if name not in imported]
        if not top:
            found.append(sorted(left))
            break
        for name in top:
            del left[name]
    return found
