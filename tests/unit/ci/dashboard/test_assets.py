"""Static files are found, typed and named by their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci.dashboard.assets import Asset, Assets, web_directory
from datakit_ci.dashboard.rendering import path_of


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)
    return directory


def test_the_folder_has_templates_and_static_files() -> None:
    assert (web_directory() / "templates" / "base.html").is_file()
    assert (web_directory() / "static" / "app.css").is_file()


def test_only_files_of_known_types_are_served(tmp_path: Path) -> None:
    assets = Assets.load(write(tmp_path, app_css="a{}", notes_md="secret"))
    assert assets.url("app.css").endswith("/app.css")
    with pytest.raises(KeyError, match=r"notes\.md"):
        assets.url("notes.md")


def test_the_address_changes_with_any_content(tmp_path: Path) -> None:
    one = Assets.load(write(tmp_path, app_css="a{}", log_js="1")).url("app.css")
    assert Assets.load(tmp_path).url("app.css") == one
    assert Assets.load(write(tmp_path, log_js="2")).url("app.css") != one


def test_what_does_not_shrink_is_not_packed() -> None:
    assert Asset.make(b"x" * 1000, "text/css").packed is not None
    assert Asset.make(bytes(range(256)), "font/woff2").packed is None


def test_every_vendored_font_has_its_licence_beside_it() -> None:
    fonts = web_directory() / "static" / "fonts"
    licence = (fonts / "LICENSE.txt").read_text()
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert all(font.name.startswith("plex-") for font in fonts.glob("*.woff2"))


def test_nothing_that_pages_load_names_another_host() -> None:
    for path in sorted(web_directory().rglob("*")):
        if path.suffix in {".css", ".html", ".js", ".svg"}:
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "http:" not in text, path
            assert "https:" not in text, path


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        (("build", "a/b"), "/build/a/b"),
        (("a b", "#?%&"), "/a%20b/%23%3F%25%26"),
        (('"><',), "/%22%3E%3C"),
        (("na\udcefve", "\u4f60"), "/na%EFve/%E4%BD%A0"),
    ],
)
def test_addresses_are_quoted_byte_for_byte(parts: tuple[str, ...], path: str) -> None:
    assert path_of(*parts) == path
