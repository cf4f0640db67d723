"""The device tree reader against dtc, against a writer of our own, and against rubbish."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fdt_writer import Tree, text, write_fdt
from tracekit.errors import ParseError
from tracekit.kho.fdt import Node, parse_fdt

needs_dtc = pytest.mark.skipif(
    shutil.which("dtc") is None,
    reason="dtc is not installed (apt install device-tree-compiler): NOT compared with it",
)

_WORD = "abcdefghijklmnopqrstuvwxyz0123456789,._+-"
names = st.text(_WORD, min_size=1, max_size=24).map(lambda s: "n" + s)
# "p" first: dtc gives some names (phandle, ...) a meaning of their own
properties = st.dictionaries(
    st.text(_WORD, max_size=24).map(lambda s: "px" + s), st.binary(max_size=40), max_size=5
)
trees = st.recursive(
    st.builds(Tree, names, properties),
    lambda below: st.builds(
        Tree,
        names,
        properties,
        st.lists(below, max_size=4, unique_by=lambda tree: tree.name),
    ),
    max_leaves=12,
)
roots = trees.map(lambda tree: Tree("", tree.properties, tree.children))


def dts(tree: Tree, indent: str = "") -> str:
    lines = [f"{indent}{tree.name or '/'} {{"]
    for name, value in tree.properties.items():
        lines.append(f"{indent} {name}" + (f" = [{value.hex()}];" if value else ";"))
    lines += [dts(child, indent + " ") for child in tree.children]
    return "\n".join([*lines, f"{indent}}};"])


def same(node: Node, tree: Tree) -> None:
    assert node.name == tree.name
    assert dict(node.properties) == tree.properties
    assert len(node.children) == len(tree.children)
    for child, expected in zip(node.children, tree.children, strict=True):
        same(child, expected)


def compile_dts(source: str, version: int) -> bytes:
    command = ["dtc", "-q", "-I", "dts", "-O", "dtb", "-V", str(version)]
    return subprocess.run(command, input=source.encode(), stdout=subprocess.PIPE, check=True).stdout


@needs_dtc
@settings(max_examples=60, deadline=None)
@given(roots, st.sampled_from([16, 17]))
def test_reads_what_dtc_writes(tree: Tree, version: int) -> None:
    blob = compile_dts(f"/dts-v1/;\n{dts(tree)}", version)
    same(parse_fdt(blob, "dtc"), tree)


@needs_dtc
@settings(max_examples=25, deadline=None)
@given(roots)
def test_dtc_reads_what_our_writer_writes(tree: Tree) -> None:
    """The writer the other tests rely on is a writer of device trees, not of what we read."""
    command = ["dtc", "-q", "-I", "dtb", "-O", "dtb"]
    blob = subprocess.run(command, input=write_fdt(tree), stdout=subprocess.PIPE, check=True).stdout
    same(parse_fdt(blob, "dtc"), tree)


@given(roots)
def test_reads_what_our_writer_writes(tree: Tree) -> None:
    same(parse_fdt(write_fdt(tree), "writer"), tree)


@given(roots, st.binary(max_size=64))
def test_bytes_after_the_tree_are_ignored(tree: Tree, tail: bytes) -> None:
    same(parse_fdt(write_fdt(tree) + tail, "writer"), tree)


@given(st.binary(max_size=400))
def test_rubbish_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError, match="blob"):
        parse_fdt(data, "blob")


@given(roots, st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 255)), max_size=6))
def test_flipped_bytes_give_a_tree_or_a_parse_error(
    tree: Tree, flips: list[tuple[int, int]]
) -> None:
    blob = bytearray(write_fdt(tree))
    for at, value in flips:
        blob[at % len(blob)] = value
    try:
        parse_fdt(bytes(blob), "flipped")
    except ParseError as error:
        assert "flipped" in str(error)


@given(roots, st.integers(0, 1 << 12))
def test_every_truncation_is_a_parse_error(tree: Tree, cut: int) -> None:
    blob = write_fdt(tree)
    with pytest.raises(ParseError):
        parse_fdt(blob[: cut % len(blob)], "cut")


def nested(depth: int) -> bytes:
    tree = Tree("n")
    for _ in range(depth - 2):
        tree = Tree("n", {}, [tree])
    return write_fdt(Tree("", {}, [tree]))


def test_depth_is_bounded() -> None:
    parse_fdt(nested(64), "deep")
    with pytest.raises(ParseError, match="no more nodes"):
        parse_fdt(nested(65), "deep")


def with_structure(*tokens: int, strings: bytes = b"p\0") -> bytes:
    structure = struct.pack(f">{len(tokens)}I", *tokens)
    header = struct.pack(
        ">10I", 0xD00DFEED, 56 + len(structure) + len(strings), 56, 56 + len(structure), 40, 17, 16,
        0, len(strings), len(structure),
    )  # fmt: skip
    return header + bytes(16) + structure + strings


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (with_structure(9), "without a node"),
        (with_structure(1, 0, 9), "inside of a node"),
        (with_structure(2, 9), "a node before the end"),
        (with_structure(3, 0, 0, 9), "no property here"),
        (with_structure(1, 0, 7, 2, 9), "expected a token, found 0x7"),
        (with_structure(1, 0, 2, 1, 0, 2, 9), "no more nodes"),
        (with_structure(1, 0, 3, 1 << 31, 0, 2, 9), "a property's value"),
        (with_structure(1, 0, 3, 0, 99, 2, 9), "outside of its block"),
        (with_structure(1, 0, 3, 0, 0, 2, 9, strings=b"endless"), "does not end"),
        (with_structure(1, *([0x61616161] * 100)), "does not end"),
        (with_structure(1, 0, 2), "a token"),
    ],
)
def test_damage_is_named(blob: bytes, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_fdt(blob, "damaged")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 0xFEED, "not a flattened device tree"),
        (4, 1 << 31, "the header says"),
        (4, 8, "the header says"),
        (8, 8, "impossible block offsets"),
        (8, 57, "impossible block offsets"),
        (8, 1 << 30, "structure block"),
        (12, 1 << 30, "strings block"),
        (20, 3, "version 3"),
        (24, 18, "version 17, readable as 18"),
        (32, 1 << 30, "strings block"),
        (36, 1 << 30, "structure block"),
    ],
)
def test_header_damage_is_named(at: int, value: int, message: str) -> None:
    blob = bytearray(write_fdt(Tree("", {"p": b"v"})))
    struct.pack_into(">I", blob, at, value)
    with pytest.raises(ParseError, match=message):
        parse_fdt(bytes(blob), "damaged")


def test_the_first_of_two_properties_counts() -> None:
    blob = with_structure(1, 0, 3, 1, 0, 0x41000000, 3, 1, 0, 0x42000000, 4, 2, 4, 9)
    assert parse_fdt(blob, "twice").properties == {"p": b"A"}


def test_strings_and_children() -> None:
    root = parse_fdt(write_fdt(Tree("", {"c": b"a\0b\0", "e": b""}, [Tree("x"), Tree("y")])), "t")
    assert root.strings("c") == ("a", "b")
    assert root.strings("e") == root.strings("absent") == ()
    assert root.children == (Node("x", {}), Node("y", {}))
    assert parse_fdt(write_fdt(Tree("", {"c": text("one")})), "t").strings("c") == ("one",)
