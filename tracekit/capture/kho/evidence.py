"""What is known of KHO on a machine, gathered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from tracekit.capture.kho.devices import PciDevice, read_devices
from tracekit.capture.kho.holders import Holder, read_holders
from tracekit.capture.kho.iommu import attached_domains
from tracekit.capture.kho.kernel_view import KernelView, open_view
from tracekit.capture.kho.luo_state import LuoState, read_state
from tracekit.capture.kho.marks import marked_map
from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.machine import Machine
from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass, field
from tracekit.kho.memory import Reader, Recorder
from tracekit.kho.preserved import walk_bitmaps, walk_radix
from tracekit.kho.preserved_sum import PreservedMap, sum_map
from tracekit.kho.seed import SEED_PATHS
from tracekit.kho.tree import KhoTree, parse_setup_data, parse_tree
from tracekit.sysroot import KHO_ROOTS, Sysroot

__all__ = ["SEEDS", "SIDES", "Evidence", "from_machine", "read_map"]

SIDES = ("in", "out")
#: What the one tree of the first patches is called among the files, by its side.
SEEDS = {"in": "in/dt", "out": "out/dt"}
_MAGIC = b"\xd0\x0d\xfe\xed"
_MOST_TREE = 1 << 20
_MEMBERS = 128  # bytes of struct kho_out that may hold the pointer
_LIVEUPDATE = "dev/liveupdate"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One kernel's KHO.

    ``where`` names the source. ``files``: KHO's data by ``in/fdt``, ``out/sub_fdts/LUO``,
    ``out/scratch_len``; ``read``: per side the reader of what they point to. ``config``: the
    options about KHO and LUO that are set, None where the configuration is not known. ``unseen``:
    what could not be looked at, and why, by what it is: ``map``, ``luo``, ``devices``, ``domains``
    (of the IOMMU), ``marks`` (of pages that came), ``kho``.
    ``came``: LUO's sessions as they were when this kernel came up, where that is known.
    """

    where: str
    release: str
    cmdline: str
    live: bool
    files: Mapping[str, bytes]
    read: Mapping[str, Reader]
    maps: Mapping[str, PreservedMap]
    config: Mapping[str, str] | None
    meminfo: bytes
    iomem: str
    log: str
    liveupdate: bool | None
    luo: LuoState | None = None
    came: LuoState | None = None
    holders: Sequence[Holder] = ()
    devices: Sequence[PciDevice] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)

    def tree(self, side: str) -> KhoTree | None:
        """The root tree of a side, None where it is not there or damaged."""
        data = self.files.get(f"{side}/fdt")
        if data is None:
            return None
        try:
            return parse_tree(data, f"{side}/fdt")
        except ParseError:
            return None


def _seed_trees(root: Sysroot) -> dict[str, bytes]:
    """The trees that a kernel with the first KHO patches shows, outside of debugfs."""
    found: dict[str, bytes] = {}
    for name, rel in zip(SEEDS.values(), SEED_PATHS, strict=True):
        try:
            data = root.get(rel)
        except SourceError:
            continue
        if data is not None:
            found[name] = data
    return found


# -- a machine --------------------------------------------------------------------------------


def _debugfs(root: Sysroot) -> dict[str, bytes]:
    """What debugfs shows of KHO, by its names there. Files that cannot be read are left out."""
    found: dict[str, bytes] = {}
    place = next((p for p in KHO_ROOTS if any(root.exists(f"{p}/{s}") for s in SIDES)), None)
    for side in SIDES if place is not None else ():
        names = [f"{side}/{name}" for name in ("fdt", "scratch_phys", "scratch_len")]
        try:
            blobs = root.names(f"{place}/{side}/sub_fdts")
        except SourceError:
            blobs = []
        for name in names + [f"{side}/sub_fdts/{blob}" for blob in blobs]:
            try:
                data = root.get(f"{place}/{name}")
            except SourceError:
                continue
            if data is not None:
                found[name] = data
    return found


def _tree_at(read: Reader, address: int) -> bytes | None:
    """The device tree at an address, of the size that it says."""
    head = read(address, 8)
    size = int.from_bytes(head[4:], "big")
    return read(address, size) if head[:4] == _MAGIC and 8 < size <= _MOST_TREE else None


def _outgoing_tree(view: KernelView) -> bytes | None:
    """The tree that will be handed on, which debugfs lacks after a boot with KHO.

    ``kho_out`` in ``kernel/liveupdate/kexec_handover.c``. In 7.2 and 7.3 its first member points
    to the tree; whatever member does is recognized by what it points to.
    """
    start = view.symbol("kho_out")
    for offset in range(0, _MEMBERS, 8):
        pointer = view.number(start + offset)
        try:
            found = _tree_at(view.memory.read, pointer) if pointer >> 63 else None
        except SourceError:
            continue
        if found is not None:
            return found
    return None


def _whole(tree: bytes) -> bool:
    """Whether a device tree has all the bytes that it says it has.

    The file in debugfs has the size that the outgoing tree had before anything was added to it.
    """
    return len(tree) >= 8 and len(tree) >= int.from_bytes(tree[4:8], "big")


def _incoming_tree(root: Sysroot, read: Reader) -> bytes | None:
    """The tree that came, where debugfs does not show it: by x86's setup data of type 10."""
    base = "sys/kernel/boot_params/setup_data"
    for number in root.names(base):
        kind = (root.get(f"{base}/{number}/type") or b"").strip()
        data = root.get(f"{base}/{number}/data")
        if kind in (b"10", b"0xa") and data is not None:
            return _tree_at(read, parse_setup_data(data)[0])
    return None


def _blobs(files: dict[str, bytes], side: str, read: Reader) -> None:
    """Add the blobs that the tree names and debugfs does not show."""
    data = files.get(f"{side}/fdt")
    tree = parse_tree(data, f"{side}/fdt") if data is not None else None
    for blob in tree.blobs if tree is not None else ():
        name = f"{side}/sub_fdts/{blob.name}"
        if name in files or "/" in blob.name:
            continue
        try:
            if blob.size is None:
                found = _tree_at(read, blob.address)
            else:
                found = read(blob.address, blob.size) if blob.size <= _MOST_TREE else None
        except SourceError:
            continue
        if found is not None:
            files[name] = found


def read_map(tree: KhoTree, read: Reader) -> PreservedMap | None:
    """The list of preserved memory that a tree points to; None where it points to none.

    Raises :class:`~tracekit.errors.SourceError` where nothing of it can be read.
    """
    if not tree.map_address:
        return None
    notes: list[str] = []
    old = tree.version == 1
    walk = walk_bitmaps if old else walk_radix
    found = sum_map(
        walk(read, tree.map_address, notes.append), "bitmaps" if old else "radix", notes
    )
    if notes and not found.maps:
        raise SourceError(notes[0])
    return found


@dataclass(slots=True)
class _Gathering:
    """What is found on a machine, step by step."""

    machine: Machine
    files: dict[str, bytes]
    devices: Sequence[PciDevice] = ()
    handed_on: PreservedMap | None = None
    unseen: dict[str, str] = field(default_factory=dict)
    maps: dict[str, PreservedMap] = field(default_factory=dict)
    read: dict[str, Reader] = field(default_factory=dict)
    luo: LuoState | None = None

    def memory(self, stack: ExitStack, kallsyms: bytes | None) -> None:
        """Look into physical memory and the kernel's own, where there is anything to be found."""
        root, view = self.machine.root, None
        if not self.files and self.machine.kho_enabled is False:
            self._domains_alone(stack, kallsyms)
            return
        try:
            stream = root.open_binary("proc/kcore")
            if stream is None:
                raise SourceError(f"{root.where('proc/kcore')}: no such file")
            core = ElfCore(stack.enter_context(stream), root.where("proc/kcore"))
        except (ImportError, SourceError) as error:  # without pyelftools the rest is still seen
            for what in ("map", "luo", *(["domains"] if self._vfio else [])):
                self.unseen[what] = str(error)
            return
        for side in SIDES:
            self.read[side] = Recorder(core.read)
        try:
            luo = "out/sub_fdts/LUO" in self.files
            view = open_view(root, kallsyms, types=luo or self._vfio or self.handed_on is not None)
            stack.enter_context(view.memory)
            if luo:
                self.luo = read_state(view, self.read["in"])
        except SourceError as error:
            self.unseen["luo"] = str(error)
        if view is not None and view.btf is not None:
            self._domains(view)
            self._marks(view)
        self._trees(view, core)
        for side in SIDES:
            self._map(side, core)

    @property
    def _vfio(self) -> bool:
        """Whether VFIO drives a device: sysfs does not tell which IOMMU domain that is in."""
        return any(device.vfio and device.group for device in self.devices)

    def _domains_alone(self, stack: ExitStack, kallsyms: bytes | None) -> None:
        """The domains of a kernel that has no KHO."""
        if not self._vfio:
            return
        try:
            view = open_view(self.machine.root, kallsyms)
            stack.enter_context(view.memory)
        except (ImportError, SourceError) as error:
            self.unseen["domains"] = str(error)
        else:
            self._domains(view)

    def _domains(self, view: KernelView) -> None:
        """Add to the devices the domains that they are attached to."""
        if not any(device.group for device in self.devices):
            return
        try:
            attached = attached_domains(view)
        except SourceError as error:  # without VFIO sysfs tells as much
            self.unseen |= {"domains": str(error)} if self._vfio else {}
            return
        self.devices = [
            replace(device, attached=attached.get(device.group, "")) for device in self.devices
        ]

    def _marks(self, view: KernelView) -> None:
        """What arrived of the map that the kernel before handed on, where that one is known."""
        if self.handed_on is None or self.handed_on.form != "radix":
            return
        try:
            found = marked_map(view, self.handed_on)
        except SourceError as error:
            self.unseen["marks"] = str(error)
            return
        self.maps |= {"in": found} if found is not None else {}

    def _trees(self, view: KernelView | None, core: ElfCore) -> None:
        root = self.machine.root
        try:
            if view is not None and not _whole(self.files.get("out/fdt", b"")):
                found = _outgoing_tree(view)
                self.files |= {"out/fdt": found} if found else {}
        except SourceError as error:
            self.unseen["map"] = f"the tree that is to be handed on: {error}"
        try:
            if "in/fdt" not in self.files:
                found = _incoming_tree(root, core.read)
                self.files |= {"in/fdt": found} if found else {}
        except SourceError as error:
            self.unseen["in"] = str(error)
        for side in SIDES:
            try:
                _blobs(self.files, side, self.read[side])
            except ParseError as error:
                self.unseen[side] = str(error)

    def _map(self, side: str, core: ElfCore) -> None:
        """The map to hand on; the one that came can be read where it is of the first form."""
        try:
            data = self.files.get(f"{side}/fdt")
            tree = parse_tree(data, f"{side}/fdt") if data is not None else None
            if tree is None or (side == "in" and tree.version != 1):
                return
            found = read_map(tree, core.read)
            if found is not None:
                self.maps[side] = found
        except SourceError as error:
            self.unseen["map"] = str(error)


def _options(config: Mapping[str, str] | None) -> Mapping[str, str] | None:
    if config is None:
        return None
    return {n: v for n, v in config.items() if n.startswith(("KEXEC_HANDOVER", "LIVEUPDATE"))}


def from_machine(
    root: Sysroot,
    stack: ExitStack,
    kallsyms: bytes | None = None,
    *,
    deep: bool = True,
    holders: bool = False,
    handed_on: PreservedMap | None = None,
) -> Evidence:
    """Look at the machine below ``root``. ``stack`` closes what stays open: its memory.

    ``kallsyms`` where it has been read already; without ``deep`` memory is not looked into.
    ``holders``: look through every process, which takes long where there are many. ``handed_on``:
    the list of preserved memory that the kernel before this one had, where that is known.
    Nothing is raised for what cannot be looked at: :attr:`Evidence.unseen` says what, and why.
    """
    machine = Machine(root)
    gathering = _Gathering(machine, _debugfs(root) | _seed_trees(root), handed_on=handed_on)
    if machine.blind:
        gathering.unseen["kho"] = "only root may look into debugfs and memory: run it with sudo"
    try:
        gathering.devices = read_devices(root)
    except SourceError as error:
        gathering.unseen["devices"] = str(error)
    if deep:
        gathering.memory(stack, kallsyms)
    return Evidence(
        where=f"this machine, {machine.release}" if root.live else str(root.path),
        release=machine.release,
        cmdline=machine.command.text,
        live=root.live,
        files=gathering.files,
        read=gathering.read,
        maps=gathering.maps,
        config=_options(machine.config),
        meminfo=machine.get("proc/meminfo") or b"",
        iomem=machine.text("proc/iomem"),
        log=machine.log,
        liveupdate=root.exists(_LIVEUPDATE) if root.live else None,
        luo=gathering.luo,
        holders=read_holders(root) if holders else (),
        devices=gathering.devices,
        unseen=gathering.unseen,
    )
