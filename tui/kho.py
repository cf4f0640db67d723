"""The KHO view: what one kernel handed to the next, as a tree with details of each node."""

from __future__ import annotations

from typing import ClassVar, cast

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static, Tree
from textual.widgets.tree import TreeNode

from tracekit.browse.kho_tree import Item, KhoItems, RegionItem, read_kho_tree, size_text
from tracekit.browse.region_fill import Fill
from tui.host import host_of
from tui.jobs import Job, start
from tui.model import Model
from tui.theme import Look, bar
from tui.view import View

__all__ = ["KhoView"]

_SIDE_BY_SIDE = 110  # cells from which on the two parts lie beside one another
_MOST_OPEN = 16  # children that are shown without being asked for
_BAR_LEAST, _BAR_MOST = 8, 40
_NUMBERS = 62  # cells of what stands around a bar


class ItemTree(Tree[Item]):
    """The tree, with vim's keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("home", "scroll_home", "First", show=False),
        Binding("G", "scroll_end", "Last", show=False),
        Binding("right,l", "open", "Open", show=False),
        Binding("left,h", "close", "Close", show=False),
        Binding("enter,space", "toggle_node", "Open or close", key_display="⏎"),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False),
    ]

    def __init__(self) -> None:
        super().__init__("", id="kho-tree")
        self.show_root = False
        self.guide_depth = 3

    def action_open(self) -> None:
        """Open the node, or go to its first child."""
        node = self.cursor_node
        if node is not None and node.allow_expand and not node.is_expanded:
            node.expand()
        elif node is not None and node.children:
            self.move_cursor(node.children[0])

    def action_close(self) -> None:
        """Close the node, or go to its parent."""
        node = self.cursor_node
        if node is not None and node.allow_expand and node.is_expanded:
            node.collapse()
        elif node is not None and node.parent is not None and not node.parent.is_root:
            self.move_cursor(node.parent)


class KhoView(View):
    """The tree, and beside or below it the node that is selected."""

    title = "KHO"

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(model, id=id)
        self._handed: KhoItems | None = None
        self._started = False

    def compose(self) -> ComposeResult:
        yield Static("", id="kho-head")
        with Container(id="kho-parts"):
            yield ItemTree()
            with VerticalScroll(id="kho-detail"):
                yield Static("", id="kho-text")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._new_theme)

    @property
    def complete(self) -> bool:
        """Whether all has been read."""
        return self._handed is not None

    def on_shown(self) -> None:
        """Read the data, the first time."""
        self.query_one(ItemTree).focus()
        if not self._started:
            self._started = True
            start(host_of(self), "what was handed over", self._read, self._done)

    def on_resize(self, event: events.Resize) -> None:
        self.query_one("#kho-parts").set_class(event.size.width >= _SIDE_BY_SIDE, "beside")
        self.call_after_refresh(self._describe)

    def _read(self, job: Job) -> KhoItems:
        return read_kho_tree(self.model.recording, job.step)

    def _done(self, handed: KhoItems) -> None:
        self._handed = handed
        self._show_head()
        self.query_one("#kho-parts").display = bool(handed.items)
        tree = self.query_one(ItemTree)
        for item in handed.items:
            self._add(tree.root, item)
        tree.root.expand()
        if handed.items:
            self.call_after_refresh(tree.move_cursor, tree.root.children[0])

    def _new_theme(self, _: object) -> None:
        nodes = list(self.query_one(ItemTree).root.children)
        while nodes:
            node = nodes.pop()
            nodes += node.children
            if node.data is not None:
                node.set_label(self._label(node.data))
        self._show_head()
        self._describe()

    # -- the tree -----------------------------------------------------------------------------

    def _show_head(self) -> None:
        message = self._handed.without_kho if self._handed is not None else ""
        head = self.query_one("#kho-head", Static)
        head.update(Text(message, self.look.warn))
        head.display = bool(message)

    def _label(self, item: Item) -> Text:
        label = Text().append(item.label, self.look.bad if item.amiss else self.look.strong)
        return label.append(f"  {item.value}", self.look.dim)

    def _add(self, above: TreeNode[Item], item: Item) -> None:
        """Add an item and all below it; the depth is bounded as that of a device tree is."""
        if not item.children:
            above.add_leaf(self._label(item), item)
            return
        telling = any(child.note or child.children for child in item.children)
        opened = telling and len(item.children) <= _MOST_OPEN and not item.closed
        node = above.add(self._label(item), item, expand=opened)
        for child in item.children:
            self._add(node, child)

    # -- the node that is selected ------------------------------------------------------------

    @on(Tree.NodeHighlighted)
    def _describe(self) -> None:
        node = self.query_one(ItemTree).cursor_node
        item = node.data if node is not None else None
        if item is not None:
            text = self.query_one("#kho-text", Static)
            width = cast("VerticalScroll", text.parent).scrollable_content_region.width
            text.update(_description(item, width, self.look))


def _description(item: Item, width: int, look: Look) -> Text:
    text = Text().append(item.label, look.heading)
    text.append(f"  {item.value}\n", look.strong)
    if item.note:
        text.append(f"{item.note}\n", look.bad if item.amiss else "")
    if isinstance(item, RegionItem) and item.fills:
        text.append_text(_filled(item.fills, width, look))
    longest = max((len(child.label) for child in item.children), default=0)
    for child in item.children:
        text.append(f"{child.label:{longest}}  ", look.dim)
        text.append(f"{child.value}\n", look.bad if child.amiss else "")
    return text


def _filled(fills: tuple[Fill, ...], width: int, look: Look) -> Text:
    """One bar per CPU: how much of its buffer is written."""
    text, cells = Text(), min(max(width - _NUMBERS, _BAR_LEAST), _BAR_MOST)
    for fill in fills:
        share = fill.committed / fill.capacity if fill.capacity else 0.0
        drawn = bar(share * cells) if share else ""
        text.append(f"CPU {fill.cpu:<3} ", look.dim)
        text.append(drawn, look.warn if fill.wrapped else look.old)
        text.append("·" * (cells - len(drawn)), look.dim)
        text.append(f" {share:6.1%}", look.strong)
        text.append(f" {size_text(fill.committed)} of {size_text(fill.capacity)}")
        text.append(f", {fill.used} of {fill.total} sub-buffers", look.dim)
        wrapped = {True: ", wrapped", False: "", None: ", wrapped: unknown"}[fill.wrapped]
        text.append(f"{wrapped}\n", look.warn)
    return text
