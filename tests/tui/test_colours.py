"""Colours: contrast in both themes, for eyes that tell fewer apart, and without any."""

from __future__ import annotations

from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rich.style import Style
from textual.pilot import Pilot

from tests.support.driver import drive, screen_styles, screen_text, until
from tui.app import TracekitApp
from tui.hues import OTHER, SYSTEMS
from tui.theme import Look
from tui.timeline.view import TimelineView

Piloted = Pilot[Any]
_Array = npt.NDArray[np.float64]
#: sRGB to XYZ (IEC 61966-2-1), the white of D65, and what those see who lack a cone (Machado,
#: Oliveira and Fernandes, 2009, severity 1).
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                 [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
_WHITE = np.array([0.95047, 1.0, 1.08883])
_EYES = {
    "all cones": np.eye(3),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
}  # fmt: skip
_TEXT, _MARK, _APART, _SYSTEMS_APART = 4.5, 3.0, 15.0, 10.0


def linear(color: str) -> _Array:
    values = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it."""
    a, b = sorted(float(linear(c) @ _XYZ[1]) for c in (one, other))
    return (b + 0.05) / (a + 0.05)


def lab(color: str, eye: str) -> _Array:
    seen = np.clip(_EYES[eye] @ linear(color), 0, 1)
    t = (_XYZ @ seen) / _WHITE
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(one: str, other: str, eye: str) -> float:
    """CIEDE2000."""
    (l1, a1, b1), (l2, a2, b2) = lab(one, eye), lab(other, eye)
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = (h1 + turn / 2) % 360
    t = (1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
         + 0.32 * np.cos(np.radians(3 * hue + 6))
         - 0.20 * np.cos(np.radians(4 * hue - 63)))  # fmt: skip
    sl = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    dl, dc = (l2 - l1) / sl, (c2 - c1) / sc
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / sh
    bent = 30 * np.exp(-(((hue - 275) / 25) ** 2))
    r = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * np.sin(np.radians(2 * bent))
    return float(np.sqrt(dl**2 + dc**2 + dh**2 + r * dc * dh))


def test_the_formulas_are_those_of_the_papers() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert difference("#ff0000", "#00ff00", "all cones") == pytest.approx(86.6, abs=0.3)
    assert difference("#ff0000", "#ff0000", "protanopia") == 0


def looks() -> dict[str, tuple[Look, list[str]]]:
    """Theme -> (its styles, the backgrounds that text is written on)."""
    found = {}
    app = TracekitApp(Path("nothing"))
    for theme in ("textual-dark", "textual-light"):
        app.theme = theme
        look, colors = Look.of(app), app.get_css_variables()
        cursor = look.cursor.bgcolor
        assert cursor is not None
        found[theme] = look, [colors["surface"], colors["panel"], cursor.name]
    return found


def of(style: Style, *, back: bool = False) -> str:
    color = style.bgcolor if back else style.color
    assert color is not None
    return color.name


def test_every_text_can_be_read_and_every_mark_be_seen() -> None:
    bad = []
    for theme, (look, backgrounds) in looks().items():
        texts = {f.name: getattr(look, f.name) for f in fields(look)}
        styles = {n: s for n, s in texts.items() if isinstance(s, Style) and s.color}
        styles |= {f"kernel {n}": s for n, s in enumerate(look.hues)}
        styles |= {name: look.hue(name) for name in [*SYSTEMS, "anything else"]}
        for name, style in styles.items():
            on = [of(style, back=True)] if name == "match" else backgrounds
            worst = min(contrast(of(style), back) for back in on)
            shaded = min(contrast(of(look.shade(style)), back) for back in on)
            bad += [(theme, name, worst)] if worst < _TEXT else []
            bad += [(theme, f"{name}, shaded", shaded)] if shaded < _TEXT else []
        for name in ("jump", "dark", "warn", "mark"):
            worst = min(contrast(of(texts[name]), back) for back in backgrounds)
            assert worst >= _MARK
    assert bad == []


def test_what_matters_is_told_apart_by_all_eyes() -> None:
    for theme, (look, _) in looks().items():
        kinds = {"jump": of(look.jump), "dark": of(look.dark), "lost": of(look.warn),
                 "cursor": of(look.cursor, back=True)}  # fmt: skip
        for eye in _EYES:
            for one, other in combinations(kinds, 2):
                apart = difference(kinds[one], kinds[other], eye)
                assert apart >= _APART, (theme, eye, one, other, apart)


def test_every_system_has_its_own_colour_and_sign() -> None:
    hues = [*SYSTEMS.values(), OTHER]
    assert len({hue.sign for hue in hues}) == len(hues)
    for one, other in combinations(SYSTEMS, 2):
        for number in (0, 1):
            a, b = str(SYSTEMS[one][number]), str(SYSTEMS[other][number])
            assert difference(a, b, "all cones") >= _SYSTEMS_APART, (one, other, a, b)


def test_without_colours_none_is_sent_and_signs_tell_the_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        for view in "12345":
            await pilot.press(view)
            await pilot.pause()
            styles = screen_styles(app)
            assert styles
            assert all(style.color is None and style.bgcolor is None for style in styles)
        await pilot.press("2", "0")
        state = app.query_one(TimelineView).state
        await until(pilot, lambda: state.ready, "there are lanes")
        await pilot.pause()
        text = screen_text(app)
        for system in list(state.systems())[:4]:
            assert f"{SYSTEMS[system].sign} {system} " in text
        assert any(style.reverse for style in styles)

    drive(script, size=(160, 40))
