"""No text leaves the markup that it is put in."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from tracekit.drawing.markup import Markup, escaped, joined, tag
from tracekit.text import printable


@given(st.text(st.characters(), max_size=60), st.text(st.characters(), max_size=60))
def test_texts_and_attributes_come_back_as_they_were(text: str, attribute: str) -> None:
    made = tag("text", text, data_about=attribute)
    root = ET.fromstring(made)
    assert (root.tag, len(root)) == ("text", 0)
    assert (root.text or "") == html.unescape(escaped(text)).replace("\r", "")
    assert html.unescape(escaped(text)).startswith(printable(text)[:1] or "")


def test_markup_is_not_escaped_again() -> None:
    inner = tag("b", "a < b")
    assert tag("p", inner, " & c") == "<p><b>a &lt; b</b> &amp; c</p>"
    assert joined(["<", Markup("<br/>")]) == "&lt;<br/>"


def test_attributes() -> None:
    assert tag("rect", x=1.2345, class_="a b", rx=None, data_n=3) == (
        '<rect x="1.23" class="a b" data-n="3"/>'
    )
    assert tag("p", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"></p>'
