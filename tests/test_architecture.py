"""The house: no circles, no arrow upwards, rooms and modules of a size one can hold in one's head.

Everything is computed from the source; the layers are those that ``pyproject.toml`` states.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.support.imports import ROOT, circles, folder_graph, import_graph, sources

GRAPH = import_graph("tracekit", "tui")
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
LAYERS = [c for c in TOOLS["importlinter"]["contracts"] if "containers" in c]
FILES = {**sources("tracekit"), **sources("tui")}
PACKAGES = sorted(name for name, file in FILES.items() if file.stem == "__init__")
SOURCES = (".py", ".pyi", ".c", ".h")


def tracked() -> list[Path]:
    """The project's own source files, as git knows them."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = (ROOT / name for name in listed.splitlines() if name.endswith(SOURCES))
    return [file for file in files if file.exists()]


def test_circles_are_found_where_there_are_some() -> None:
    layered = {"a": frozenset({"b", "c"}), "b": frozenset({"c"}), "c": frozenset[str]()}
    assert circles(layered) == []
    assert circles({**layered, "c": frozenset({"b"})}) == [["b", "c"]]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(GRAPH) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folders_import_each_other(package: str) -> None:
    """Of what lies side by side in a folder, modules and folders alike."""
    assert circles(folder_graph(GRAPH, package)) == []


@pytest.mark.parametrize("contract", LAYERS, ids=lambda c: c["containers"][0])
def test_no_arrow_runs_up(contract: dict[str, list[str]]) -> None:
    """And every package has its layer: nothing is left out of the contract."""
    (container,) = contract["containers"]
    floor = {
        f"{container}.{name.strip()}": number
        for number, layer in enumerate(reversed(contract["layers"]))
        for name in layer.split("|")
    }
    rooms = folder_graph(GRAPH, container)
    assert floor.keys() == rooms.keys()
    assert [(a, b) for a, others in rooms.items() for b in others if floor[b] >= floor[a]] == []


def test_a_folder_holds_no_more_than_twenty_source_files() -> None:
    sizes = Counter(file.parent for file in tracked())
    assert {str(folder.relative_to(ROOT)): n for folder, n in sizes.items() if n > 20} == {}


def test_modules_and_functions_are_short() -> None:
    long = {}
    for file in tracked():
        text, name = file.read_text(), str(file.relative_to(ROOT))
        if (lines := text.count("\n")) > 400:
            long[name] = lines
        for node in ast.walk(ast.parse(text)) if file.suffix == ".py" else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 70:
                    long[f"{name}:{node.name}"] = lines
    assert long == {}


def test_c_functions_are_short() -> None:
    """A function of the kernel's style begins and ends in the first column."""
    body = re.compile(r"^\{$(.*?)^\}$", re.M | re.S)
    long = {
        f"{file.relative_to(ROOT)}: {match[1].strip().splitlines()[0]}": match[1].count("\n")
        for file in tracked()
        if file.suffix == ".c"
        for match in body.finditer(file.read_text())
        if match[1].count("\n") > 70
    }
    assert long == {}


def test_a_test_module_imports_no_other_one() -> None:
    tests = import_graph("tests")
    found = {
        name: other
        for name, imported in tests.items()
        for other in imported
        if other.rpartition(".")[2].startswith("test_") or other == "tests.conftest"
    }
    assert found == {}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("top", ["tracekit", "tui", "tests", "benchmarks"])
def test_no_private_names_of_other_modules(top: str) -> None:
    """Neither imported, nor reached through an imported module."""
    known = {*GRAPH, *import_graph("tests")}
    found = []
    for name, file in sources(top).items():
        tree = ast.parse(file.read_text())
        modules = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                aliases = {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
                modules |= {alias for alias, full in aliases.items() if full in known}
                ours = str(node.module).partition(".")[0] in ("tracekit", "tui", "tests")
                names = [a.name for a in node.names if private(a.name) and a.name != "_native"]
                found += [f"{name}: {n}" for n in names if ours]
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and private(node.attr)
                and isinstance(node.value, ast.Name)
                and node.value.id in modules
            ):
                found.append(f"{name}: {node.value.id}.{node.attr}")
    assert found == []
