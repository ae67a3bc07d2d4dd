"""Every colour of a terminal can be read on the log panel."""

from __future__ import annotations

import re

from datakit_ci.dashboard import palette
from datakit_ci.dashboard.assets import web_directory


def test_every_text_colour_has_the_contrast_that_wcag_asks_for() -> None:
    for index in range(256):
        shown = palette.readable(palette.colour(index))
        assert palette.contrast(shown, palette.BACKGROUND) >= 4.5, index


def test_readable_colours_are_left_alone() -> None:
    assert palette.readable((255, 0, 128)) == (255, 0, 128)


def test_exact_colours_of_the_cube_are_found() -> None:
    assert palette.nearest(255, 135, 0) == 16 + 36 * 5 + 6 * 2
    assert palette.nearest(8, 8, 8) == 232
    assert palette.nearest(0, 0, 0) == 16


def test_the_style_sheet_has_every_class_and_no_address() -> None:
    css = palette.stylesheet().decode()
    for index in range(256):
        assert f".f{index}{{color:#" in css
        assert f".b{index}{{background:#" in css
    assert "url(" not in css


def test_the_log_panel_has_the_colour_that_contrast_was_measured_against() -> None:
    css = (web_directory() / "static" / "log.css").read_text()
    declared = re.search(r"--log: #([0-9a-f]{6});", css)
    assert declared is not None
    assert bytes.fromhex(declared[1]) == bytes(palette.BACKGROUND)
