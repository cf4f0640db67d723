"""Which boot loader an installed system has, the command that works there, and what it boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.capture.cmdline.bootloader import GRUB_FILE, KERNEL_CMDLINE, Loader
from tracekit.capture.cmdline.bootloader import find_loader as find
from tracekit.capture.cmdline.readback import read_back
from tracekit.capture.cmdline.wanted import kho_parameters as parameters
from tracekit.cli import main
from tracekit.sysroot import Sysroot

WANTED = parameters("4M")
ENTRY = "boot/loader/entries/a-7.2.13.conf"
OPTIONS = "title F\nversion 7.2.13\nlinux /vmlinuz-7.2.13\noptions root=UUID=x ro quiet{}\n"
BLS = "GRUB_CMDLINE_LINUX=quiet\nGRUB_ENABLE_BLSCFG={}\n"
LOADER_INFO = "sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
MKCONFIG2 = ("grub2-mkconfig", "-o", "/boot/grub2/grub.cfg")
MKCONFIG = ("grub-mkconfig", "-o", "/boot/grub/grub.cfg")


def system(root: Path, files: dict[str, str | bytes]) -> Sysroot:
    """An installed system; a name that ends in / is a directory."""
    for rel, content in files.items():
        target = root / rel
        target.parent.mkdir(parents=True, exist_ok=True)
        if rel.endswith("/"):
            target.mkdir(exist_ok=True)
        elif isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.write_text(content)
    return Sysroot(root)


def loader_of(root: Sysroot, wanted: str = WANTED) -> Loader:
    return find(root, lambda n: any(root.exists(f"usr/{d}/{n}") for d in ("sbin", "bin")), wanted)


DEBIAN = {"etc/default/grub": "", "etc/default/grub.d/": "", "boot/grub/": ""}
FEDORA = {"etc/default/grub": BLS.format("true"), "boot/grub2/": "", ENTRY: OPTIONS.format("")}
SYSTEMD = {"boot/EFI/systemd/systemd-bootx64.efi": "", ENTRY: OPTIONS.format("")}
LINE = {KERNEL_CMDLINE: "root=UUID=x ro quiet\n"}


@pytest.mark.parametrize(
    ("files", "name", "path", "update"),
    [
        (DEBIAN, "GRUB", GRUB_FILE, MKCONFIG),
        (DEBIAN | {"usr/sbin/update-grub": ""}, "GRUB", GRUB_FILE, ("update-grub",)),
        (DEBIAN | LINE, "GRUB", GRUB_FILE, MKCONFIG),
        ({"etc/default/grub": ""}, "GRUB", None, ()),
        ({"etc/default/grub": "", "boot/grub2/grub.cfg": ""}, "GRUB", None, ()),
        (
            {"etc/default/grub": "", "etc/default/grub.d/": "", "boot/grub2/": ""},
            "GRUB", GRUB_FILE, MKCONFIG2,
        ),
        (
            DEBIAN | {"usr/sbin/grub-mkconfig": "#!/bin/sh\n. /etc/default/grub\n"},
            "GRUB", None, (),
        ),
        (
            FEDORA | {"etc/default/grub": BLS.format("false"), "etc/default/grub.d/": ""},
            "GRUB", GRUB_FILE, MKCONFIG2,
        ),
        (SYSTEMD | LINE, "systemd-boot, by kernel-install", KERNEL_CMDLINE,
         ("kernel-install", "add-all")),
        (SYSTEMD | LINE | {"usr/bin/sdbootutil": ""}, "systemd-boot, by kernel-install",
         KERNEL_CMDLINE, ("sdbootutil", "update-all-entries")),
        (LINE, "kernel-install", KERNEL_CMDLINE, ("kernel-install", "add-all")),
        (SYSTEMD, "systemd-boot", None, ()),
        ({ENTRY: ""}, "systemd-boot", None, ()),
        (SYSTEMD | {"etc/default/grub": ""} | LINE, "systemd-boot, by kernel-install",
         KERNEL_CMDLINE, ("kernel-install", "add-all")),
        ({"boot/grub/grub.cfg": ""}, "GRUB", None, ()),
        ({"etc/zipl.conf": "", ENTRY: ""}, "zipl", None, ()),
        (FEDORA | {"ostree/repo/": ""}, "rpm-ostree", None, ()),
        ({"etc/NIXOS": "", ENTRY: ""}, "NixOS", None, ()),
        ({"boot/extlinux/extlinux.conf": ""}, "extlinux", None, ()),
        ({}, "unknown", None, ()),
    ],
)  # fmt: skip
def test_boot_loaders(
    tmp_path: Path, files: dict[str, str], name: str, path: str | None, update: tuple[str, ...]
) -> None:
    loader = loader_of(system(tmp_path, files))
    assert (loader.name, loader.path, loader.update) == (name, path, update)
    assert loader.note


@pytest.mark.parametrize(
    "more",
    [{}, LINE, {"etc/default/grub.d/": ""}, {"usr/sbin/grubby": ""}, {"etc/default/grub": ""}],
)
def test_grub_with_entries_is_changed_by_grubby(tmp_path: Path, more: dict[str, str]) -> None:
    loader = loader_of(system(tmp_path, FEDORA | more))
    assert (loader.name, loader.path) == ("GRUB with boot loader entries", None)
    assert loader.update == ("grubby", "--update-kernel=ALL", f"--args={WANTED}")
    assert loader.undo == ()
    assert ("install it" in loader.note) == ("usr/sbin/grubby" not in more)


def test_grubby_leaves_what_is_somebody_elses(tmp_path: Path) -> None:
    """It replaces every parameter of a name by the ones added, so theirs are added again."""
    theirs = "trace_instance=mine reserve_mem=1M:2M:mine"
    root = system(tmp_path, FEDORA | {ENTRY: OPTIONS.format(f" {theirs} memmap=1M$0x1000 kho=off")})
    assert loader_of(root).update[2:] == (f"--args={theirs} {WANTED}",)
    assert loader_of(root, "").undo == ()


def test_what_grubby_takes_away_again(tmp_path: Path) -> None:
    bigger = parameters("64M")
    root = system(tmp_path, FEDORA | {ENTRY: OPTIONS.format(f" {WANTED} reserve_mem=1M:2M:mine")})
    assert loader_of(root, bigger).update[2:] == (f"--args=reserve_mem=1M:2M:mine {bigger}",)
    # by name: grubby takes a value for a regular expression, and ^ in one for the line's begin
    undo = loader_of(root, "").undo
    assert undo[:2] == ("grubby", "--update-kernel=ALL")
    assert undo[2:] == ("--remove-args=kho trace_instance", "--args=reserve_mem=1M:2M:mine")
    theirs = "trace_instance=mine"
    carried = f"memmap=8M%0x1000000-1+2 trace_instance=tk^traceoff@0x1000000:4M {theirs}"
    root = system(tmp_path, {ENTRY: OPTIONS.format(f" {carried}")})
    assert loader_of(root).update[2:] == ("--remove-args=memmap", f"--args={theirs} {WANTED}")


def test_entries_that_differ_are_left_to_the_user(tmp_path: Path) -> None:
    second = {ENTRY.replace(".conf", "-2.conf"): OPTIONS.format(" trace_instance=mine")}
    loader = loader_of(system(tmp_path, FEDORA | {ENTRY: OPTIONS.format("")} | second))
    assert (loader.update, loader.undo) == ((), ())
    assert "for every kernel run grubby" in loader.note


@pytest.mark.parametrize(
    ("info", "name"),
    [("systemd-boot 255", "systemd-boot, by kernel-install"), ("GRUB 2.12", "GRUB")],
)
def test_the_loader_that_started_this_boot_decides(tmp_path: Path, info: str, name: str) -> None:
    both = DEBIAN | SYSTEMD | LINE
    started: dict[str, str | bytes] = {LOADER_INFO: b"\6\0\0\0" + f"{info}\0".encode("utf-16-le")}
    assert loader_of(system(tmp_path, both | started)).name == name


# -- read back --------------------------------------------------------------------------------


def test_entries_are_read_back(tmp_path: Path) -> None:
    root = system(tmp_path, FEDORA)
    loader = loader_of(root)
    back = read_back(root, loader, WANTED)
    assert back.good is False and "of 1 entries in /boot/loader/entries none has all" in back.found
    system(tmp_path, {ENTRY: OPTIONS.format(f" {WANTED}")})
    assert read_back(root, loader, WANTED).good is True
    assert read_back(root, loader, "").good is False
    system(tmp_path, {ENTRY.replace("a-", "b-"): OPTIONS.format("")})
    assert "1 of 2 entries" in read_back(root, loader, WANTED).found
    system(tmp_path, {ENTRY: OPTIONS.format(f" {WANTED} reserve_mem=64M:2M:tkA")})
    assert read_back(root, loader, WANTED).good is False
    system(tmp_path, {ENTRY: OPTIONS.format("")})
    assert read_back(root, loader, "").good is True


def test_entries_with_a_variable_and_a_line_for_later_kernels(tmp_path: Path) -> None:
    files = FEDORA | LINE | {ENTRY: "linux /vmlinuz\noptions $kernelopts\n"}
    root = system(tmp_path, files | {"boot/grub2/grubenv": f"# GRUB\nkernelopts=ro {WANTED}\n####"})
    back = read_back(root, loader_of(root), WANTED)
    assert back.good is True and "/etc/kernel/cmdline lacks kho=on" in back.found


def test_grub_cfg_is_read_back(tmp_path: Path) -> None:
    menu = "menuentry 'L' {{\n\tlinux\t/vmlinuz-7.2.13 root=UUID=x ro {}\n\tinitrd /i\n}}\n"
    root = system(tmp_path, DEBIAN | {"boot/grub/grub.cfg": menu.format("quiet")})
    assert read_back(root, loader_of(root), WANTED).good is False
    system(tmp_path, {"boot/grub/grub.cfg": menu.format(f"quiet {WANTED}")})
    assert read_back(root, loader_of(root), WANTED).good is True


def test_what_cannot_be_read_back(tmp_path: Path) -> None:
    root = system(tmp_path, {"boot/loader/entries/": "", **LINE})
    assert read_back(root, loader_of(root), WANTED).good is None
    assert read_back(root, Loader("unknown", None, (), ""), WANTED).good is None


def test_setup_says_what_to_run_in_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system(tmp_path / "root", FEDORA)
    root = ["--root", str(tmp_path / "root")]
    command = ["setup", *root, "--program", "/usr/bin/tracekit", "--carrier", "kho"]
    assert main([*command, "--apply"]) == 0
    said = "in the installed system run: grubby --update-kernel=ALL '--args=kho=on "
    assert said in capsys.readouterr().err
    system(tmp_path / "root", {ENTRY: OPTIONS.format(f" {WANTED}")})
    assert main([*command, "--undo"]) == 0
    assert (
        "grubby --update-kernel=ALL '--remove-args=kho reserve_mem trace_instance'"
        in capsys.readouterr().err
    )


# -- a carve-out, whose $ boot loaders like to expand -----------------------------------------

CARVED = "memmap=16M$0x70000000 trace_instance=tk^traceoff@0x70000000:8M"
PERCENT = CARVED.replace("$0x70000000", "%0x70000000-1+2")
MENU = "boot/grub/grub.cfg"
RUNNING = {LOADER_INFO: b"\7\0\0\0" + "systemd-boot 257".encode("utf-16-le")}


@pytest.mark.parametrize(
    ("files", "parameters"),
    [
        (DEBIAN, CARVED),  # escaped, see test_setup
        (FEDORA, PERCENT),
        (FEDORA | LINE, PERCENT),
        (SYSTEMD | LINE, CARVED),
        (SYSTEMD | LINE | RUNNING, CARVED),
        (SYSTEMD | LINE | {"usr/bin/sdbootutil": ""}, PERCENT),
        (LINE, PERCENT),  # whose entries they are is not known
        (SYSTEMD, PERCENT),
        (FEDORA | {"ostree/repo/": ""}, PERCENT),
        ({}, PERCENT),
    ],
)
def test_the_dollar_is_left_only_where_it_gets_through(
    tmp_path: Path, files: dict[str, str | bytes], parameters: str
) -> None:
    loader = loader_of(system(tmp_path, files), CARVED)
    assert loader.parameters == parameters
    assert not any("$" in word for word in loader.update)


def menu(word: str) -> str:
    """A menu as grub-mkconfig (2.06) writes it."""
    line = f"\tlinux\t/boot/vmlinuz root=/dev/vda1 ro  {word} {CARVED.split()[1]} quiet\n"
    return f"menuentry 'Debian' {{\n{line}\tinitrd /boot/initrd.img\n}}\n"


@pytest.mark.parametrize(
    ("word", "good", "broken"),
    [
        (r"memmap=16M\$0x70000000", True, ()),
        ("memmap=16M$0x70000000", False, ("memmap=16M$0x70000000",)),  # GRUB expands that
        ("memmap=16M", False, ("memmap=16M",)),
        ("memmap=16Mx70000000", False, ("memmap=16Mx70000000",)),
        (r"memmap=16M\\$0x70000000", False, (r"memmap=16M\\$0x70000000",)),
        (r"memmap=16M\\\$0x70000000", False, (r"memmap=16M\\\$0x70000000",)),
        (r"memmap=16M\$0x60000000", False, ()),  # somebody's, and ours is not there
        (r"memmap=16M\$0x60000000 memmap=16M\$0x70000000", True, ()),
        ("memmap=160M memmap=16G!4G", False, ()),
        ("", False, ()),
    ],
)
def test_grubs_menu_has_exactly_the_escaped_dollar(
    tmp_path: Path, word: str, good: bool, broken: tuple[str, ...]
) -> None:
    root = system(tmp_path, DEBIAN | {MENU: menu(word)})
    found = read_back(root, loader_of(root, CARVED), CARVED)
    assert (found.good, found.broken) == (good, broken)


@pytest.mark.parametrize(
    ("word", "good", "broken"),
    [
        (PERCENT, True, ()),
        (CARVED, False, ("memmap=16M$0x70000000",)),  # GRUB expands it to memmap=16M
        ("memmap=16M", False, ("memmap=16M",)),
    ],
)
def test_no_entry_has_a_dollar_where_grub_reads_it(
    tmp_path: Path, word: str, good: bool, broken: tuple[str, ...]
) -> None:
    root = system(tmp_path, FEDORA | {ENTRY: OPTIONS.format(f" {word}")})
    found = read_back(root, loader_of(root, CARVED), CARVED)
    assert (found.good, found.broken) == (good, broken)


def test_what_is_taken_from_entries_has_no_remains(tmp_path: Path) -> None:
    root = system(tmp_path, FEDORA | {ENTRY: OPTIONS.format(f" memmap=1G!4G {PERCENT}")})
    loader = loader_of(root, "")
    assert loader.undo[2:] == ("--remove-args=trace_instance", "--args=memmap=1G!4G")
    assert read_back(root, loader, "").good is False
