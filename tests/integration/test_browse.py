"""A build's trees over HTTP: every kind of file, any name, nothing too large, nobody else's."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datakit_ci.archive import Dossier
from datakit_ci.dashboard import create_app, files, textfile
from datakit_ci.dashboard.rendering import path_of
from datakit_ci.state import BuildState, Status
from datakit_core.client.api import FileMode
from tests.support.artefacts import PNG, add_result, put
from tests.support.ci_scene import NOW, build_id, fill
from tests.support.fake_engine import FakeEngine
from tests.support.html import Page, read_page

Client = TestClient[web.Request, web.Application]

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
MARKDOWN = b"""# Title <script>alert(1)</script>

[bad](javascript:alert(1)) [data](data:text/html,x) [next](docs/next.md) [root](/docs/next.md)
![local](pic.png) ![remote](https://example.org/track.png)

<form action="/x"><input></form> <img src=x onerror=alert(1)>

| a | b |
|---|:-:|
| 1 | 2 |
"""
FILES: dict[str, bytes | tuple[FileMode, bytes]] = {
    "README.md": MARKDOWN,
    "docs/next.md": b"next\n",
    "pic.png": PNG,
    "evil.svg": SVG,
    "page.html": b"<h1>hi</h1><script>alert(1)</script>",
    "run.sh": (FileMode.EXECUTABLE, b"#!/bin/sh\n"),
    "away": (FileMode.LINK, b"../../../etc/passwd"),
    "data.bin": b"\x00\x01\x02" * 1000,
    "text.txt": b"one <b>two</b>\nthree\x1b[31m\r\n\xff\n",
    "empty": b"",
}


@pytest.fixture
def engine() -> FakeEngine:
    return fill(FakeEngine()).engine


@pytest.fixture
async def client(engine: FakeEngine) -> AsyncIterator[Client]:
    async with TestClient(TestServer(create_app(engine, now=lambda: NOW))) as client:
        yield client


def address(dossier: Dossier, side: str = "output") -> str:
    return f"{path_of('build', dossier.state.id.path)}/{side}"


async def look(client: Client, path: str, status: int = 200) -> Page:
    async with client.get(path) as response:
        text = await response.text()
        assert response.status == status, text
        page = read_page(text)
    assert page.broken == []
    assert page.scripted == []
    assert sorted(page.ids) == sorted(set(page.ids))
    return page


async def test_a_directory_lists_names_kinds_and_sizes(client: Client, engine: FakeEngine) -> None:
    made = await add_result(engine, made=FILES)
    page = await look(client, address(made))
    assert "What it made" in page.words
    assert "docs/ directory" in page.words
    assert "run.sh program 10 B" in page.words
    assert "away → ../../../etc/passwd link" in page.words
    assert "data.bin file 3.0 kB" in page.words
    assert page.words.index("docs/") < page.words.index("README.md")
    assert f"{address(made)}/docs" in page.links
    inner = await look(client, f"{address(made)}/docs")
    assert "next.md" in inner.words
    assert address(made) in inner.links
    given = await look(client, address(made, "input"))
    assert "What it was given" in given.words


async def test_text_has_numbered_lines_with_addresses(client: Client, engine: FakeEngine) -> None:
    made = await add_result(engine, made=FILES)
    page = await look(client, f"{address(made)}/text.txt")
    assert "one <b>two</b>" in page.text
    assert "three\\x1b[31m" in page.text
    assert "\N{REPLACEMENT CHARACTER}" in page.text
    assert [each for each in page.ids if each.startswith("L")] == ["L1", "L2", "L3"]
    assert "#L2" in page.links
    assert "This file is empty" in (await look(client, f"{address(made)}/empty")).words
    assert "no text" in (await look(client, f"{address(made)}/data.bin")).words
    assert "not followed" in (await look(client, f"{address(made)}/away")).words


async def test_markdown_is_rendered_without_anything_of_a_strangers(
    client: Client, engine: FakeEngine
) -> None:
    made = await add_result(engine, made=FILES)
    page = await look(client, f"{address(made)}/README.md")
    start = page.tags.index("article")
    assert not {"form", "input", "script"} & set(page.tags[start : page.tags.index("dialog")])
    assert not [link for link in page.links if link.startswith(("javascript:", "data:"))]
    assert "docs/next.md" in page.links
    assert f"{address(made)}/docs/next.md" in page.links
    assert "pic.png?raw" in page.links
    assert not [link for link in page.links if "example.org" in link]
    assert "table" in page.tags
    source = await look(client, f"{address(made)}/README.md?source")
    assert "[bad](javascript:alert(1))" in source.words


async def test_pictures_and_pages_are_kept_in_a_cage(client: Client, engine: FakeEngine) -> None:
    made = await add_result(engine, made=FILES)
    page = await look(client, f"{address(made)}/evil.svg")
    assert f"{address(made)}/evil.svg?raw" in page.links
    page = await look(client, f"{address(made)}/page.html")
    assert "iframe" in page.tags
    for name, kind in (
        ("evil.svg", "image/svg+xml"),
        ("page.html", "text/html; charset=utf-8"),
        ("README.md", "text/plain; charset=utf-8"),
    ):
        async with client.get(f"{address(made)}/{name}?raw") as response:
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("sandbox; default-src 'none'")
            assert "script-src" not in policy
            assert "allow" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Content-Type"] == kind
    async with client.get(f"{address(made)}/page.html") as response:
        assert "frame-src 'self'" in response.headers["Content-Security-Policy"]
        assert "script-src 'self';" in response.headers["Content-Security-Policy"]


async def test_a_file_is_downloaded_whole_in_part_or_not_again(
    client: Client, engine: FakeEngine
) -> None:
    made = await add_result(engine, made={'dir/a b".bin': bytes(range(256)) * 9})
    whole = bytes(range(256)) * 9
    url = f"{address(made)}/dir/{quote('a b' + chr(34) + '.bin')}?download"
    async with client.get(url) as response:
        assert await response.read() == whole
        assert response.headers["Content-Disposition"].startswith('attachment; filename="a b_.bin"')
        assert response.headers["Accept-Ranges"] == "bytes"
        tag = response.headers["ETag"]
    for wanted, status, content in (
        ("bytes=10-19", 206, whole[10:20]),
        ("bytes=2300-", 206, whole[2300:]),
        ("bytes=-4", 206, whole[-4:]),
        ("bytes=5-3", 200, whole),
        ("bytes=1-2,5-6", 200, whole),
        ("lines=1-2", 200, whole),
        ("bytes=9999-", 416, None),
    ):
        async with client.get(url, headers={"Range": wanted}) as response:
            assert response.status == status, wanted
            body = await response.read()
            assert content is None or body == content
    async with client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'}) as response:
        assert response.status == 200
    async with client.get(url, headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with client.head(url) as response:
        assert response.status == 200
        assert response.content_length == len(whole)


async def test_a_directory_is_downloaded_as_a_zip_that_harms_nobody(
    client: Client, engine: FakeEngine
) -> None:
    made = await add_result(
        engine,
        made={
            **FILES,
            "C:evil.txt": b"backslash",
            "bad\udcff": b"byte",
            "BAD_": b"plain",
            "Docs": (FileMode.LINK, b"/tmp"),
        },
    )
    archives = []
    for _ in range(2):
        async with client.get(f"{address(made)}?zip") as response:
            assert response.headers["Content-Type"] == "application/zip"
            assert 'filename="unit-output.zip"' in response.headers["Content-Disposition"]
            archives.append(await response.read())
    assert archives[0] == archives[1]
    archive = zipfile.ZipFile(io.BytesIO(archives[0]))
    assert archive.testzip() is None
    names = set(archive.namelist())
    assert {"unit-output/README.md", "unit-output/docs/", "unit-output/C_evil.txt"} <= names
    assert {"unit-output/bad_", "unit-output/BAD_", "unit-output/Docs~2"} <= names
    assert not [name for name in names if "\\" in name or ".." in name or name.startswith("/")]
    modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert stat.S_ISLNK(modes["unit-output/away"])
    assert modes["unit-output/run.sh"] == stat.S_IFREG | 0o755
    assert archive.read("unit-output/away") == b"../../../etc/passwd"
    async with client.get(f"{address(made)}/docs?zip") as response:
        inner = zipfile.ZipFile(io.BytesIO(await response.read()))
    assert inner.namelist() == ["docs/next.md"]


async def test_names_of_any_bytes_have_addresses(client: Client, engine: FakeEngine) -> None:
    names = ["\udcff\udcfe", 'q"<i>x', "a\nb", "ab\u202ecd", "a%2Fb", "#hash?query", "\u00e9"]
    contents = {name: name.encode(errors="surrogateescape") + b"!" for name in names}
    made = await add_result(engine, made={f"dir/{n}": data for n, data in contents.items()})
    page = await look(client, f"{address(made)}/dir")
    for name in names:
        link = f"{address(made)}{path_of('dir', name)}"
        assert link in page.links, name
        async with client.get(f"{link}?raw") as response:
            assert response.status == 200, name
            assert await response.read() == contents[name]
        await look(client, link)
    assert "\u202e" not in page.text


async def test_a_huge_directory_comes_in_pages_and_can_be_searched(
    client: Client, engine: FakeEngine
) -> None:
    made = await add_result(engine, made={f"n{number:05}": b"" for number in range(3000)})
    page = await look(client, address(made))
    assert f"1 to {files.PAGE} of 3,000" in page.words
    assert "n00249" in page.words
    assert "n00250" not in page.words
    last = await look(client, f"{address(made)}?page=12")
    assert "n02999" in last.words
    beyond = await look(client, f"{address(made)}?page=99999")
    assert "n02999" in beyond.words
    found = await look(client, f"{address(made)}?q=N0299")
    assert "10 names of 3,000" in found.words
    assert "No name has" in (await look(client, f"{address(made)}?q=zzz")).words
    await look(client, f"{address(made)}?page=x", 400)


async def test_a_huge_file_is_shown_in_parts(client: Client, engine: FakeEngine) -> None:
    lines = textfile.MAX_LINES * 2 + 10
    content = b"".join(b"line %d\n" % number for number in range(1, lines + 1))
    made = await add_result(engine, made={"big.txt": content, "long.txt": b"x" * 3_000_000})
    page = await look(client, f"{address(made)}/big.txt")
    assert f"L{textfile.MAX_LINES}" in page.ids
    assert f"L{textfile.MAX_LINES + 1}" not in page.ids
    later = [link for link in page.links if "from=" in link]
    page = await look(client, later[0])
    assert page.ids.count(f"L{textfile.MAX_LINES + 1}") == 1
    page = await look(client, f"{address(made)}/big.txt?from={lines}")
    assert [each for each in page.ids if each.startswith("L")] == [f"L{lines}"]
    assert "no such line" in (await look(client, f"{address(made)}/big.txt?from=999999")).words
    page = await look(client, f"{address(made)}/long.txt")
    assert len(page.text) < 2 * textfile.LONGEST_LINE + 5000


async def test_what_is_not_there_is_told_in_words(client: Client, engine: FakeEngine) -> None:
    failed = await add_result(engine, failed="exit status 1")
    assert "did not pass" in (await look(client, address(failed), 404)).words
    assert "no reports" in (await look(client, address(failed, "reports"), 404)).words
    for path in ("/nothing", "/README.md/below", "/..%2f..", "/%00"):
        assert "no such file" in (await look(client, address(failed, "input") + path, 404)).words
    await look(client, address(failed, "elsewhere"), 404)
    running = build_id("acme/shop", "unit", "running")
    engine.add_build(BuildState(running, Status.RUNNING))
    page = await look(client, f"{path_of('build', running.path)}/output", 404)
    assert "no output yet" in page.words


async def test_a_tree_that_was_dropped_is_told_in_words(client: Client, engine: FakeEngine) -> None:
    made = await add_result(engine, made={"a/b": b"1"})
    assert made.state.output is not None
    engine.database.objects._objects.pop(made.state.output)
    page = await look(client, address(made), 404)
    assert "not in the database any more" in page.words


async def test_a_permalink_means_the_same_tree_when_the_build_is_made_again(
    client: Client, engine: FakeEngine
) -> None:
    old = await add_result(engine, made={"file": b"old"})
    await add_result(engine, made={"file": b"new"})
    pinned = f"{address(old)}/file?tree={old.state.output}"
    assert "old" in (await look(client, pinned)).words
    assert "new" in (await look(client, f"{address(old)}/file")).words
    page = await look(client, f"{address(old)}?tree={old.state.output}")
    assert pinned in page.links


async def test_a_tree_of_another_build_is_out_of_reach(client: Client, engine: FakeEngine) -> None:
    other = build_id("secret/project", "unit")
    secret = await add_result(engine, other, made={"password": b"hunter2"})
    mine = await add_result(engine, made={"file": b"mine"})
    page = await look(client, f"{address(mine)}/password?tree={secret.state.output}", 404)
    assert "no such tree" in page.words
    stray = await put(engine, {"stray": b"1"})
    await look(client, f"{address(mine)}/stray?tree={stray}", 404)
    await look(client, f"{address(mine)}/file?tree={'x' * 40}", 404)


async def test_a_zip_of_too_much_is_refused_with_a_remedy(
    client: Client, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datakit_ci.dashboard.zipping.MOST", 5)
    made = await add_result(engine, made={f"f{number}": b"" for number in range(6)})
    page = await look(client, f"{address(made)}?zip", 413)
    assert "results checkout" in page.words


async def test_a_large_file_travels_in_pieces(client: Client, engine: FakeEngine) -> None:
    content = os.urandom(3 << 20)
    made = await add_result(engine, made={"large": content})
    async with client.get(f"{address(made)}/large?download") as response:
        assert await response.read() == content
    async with client.get(f"{address(made)}?zip") as response:
        archive = zipfile.ZipFile(io.BytesIO(await response.read()))
    assert archive.read("unit-output/large") == content
