"""Repositories that cannot be served are refused, with the reason and the remedy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from datakit_core.errors import RepositoryError
from datakit_core.store import Store, open_reader
from tests.support.databases import open_store
from tests.support.git import commit_file, git


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    return tmp_path / "bare.git"


async def refusal(path: Path, *, create: bool = True) -> str:
    """The text with which the repository at ``path`` is refused."""
    with pytest.raises(RepositoryError) as caught:
        async with Store.open(path, create=create):
            pass
    assert str(path) in str(caught.value)
    return str(caught.value)


async def test_an_absent_repository_is_made_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "a" / "new.git"
    assert "git init --bare" in await refusal(path, create=False)
    async with open_store(path) as store:
        assert dict(store.heads()) == {}
    assert git(path, "rev-parse", "--is-bare-repository") == "true"
    async with Store.open(path) as store:
        assert dict(store.heads()) == {}


async def test_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "not a Git repository" in await refusal(tmp_path)
    assert "not a directory" in await refusal(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


async def test_a_checkout_is_refused(tmp_path: Path) -> None:
    commit_file(tmp_path / "checkout", "a", b"1")
    assert "git clone --bare" in await refusal(tmp_path / "checkout")
    assert "git clone --bare" in await refusal(tmp_path / "checkout" / ".git")


async def test_sha256_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", "bare.git")
    assert "SHA-256" in await refusal(tmp_path / "bare.git")
    with pytest.raises(RepositoryError, match="SHA-256"):
        open_reader(tmp_path / "bare.git")


async def test_reftables_are_refused(bare: Path) -> None:
    git(bare, "config", "core.repositoryformatversion", "1")
    git(bare, "config", "extensions.refstorage", "reftable")
    assert "git refs migrate" in await refusal(bare)


async def test_an_unknown_extension_is_refused(bare: Path) -> None:
    git(bare, "config", "core.repositoryformatversion", "1")
    git(bare, "config", "extensions.fromthefuture", "true")
    assert "fromthefuture" in await refusal(bare)


async def test_a_damaged_configuration_is_refused(bare: Path) -> None:
    (bare / "config").write_text("[core\n")
    assert "config" in await refusal(bare)


async def test_a_repository_that_is_served_is_refused(bare: Path) -> None:
    async with Store.open(bare):
        text = await refusal(bare)
        assert f"process {os.getpid()}" in text
        assert "stop that one" in text
    async with Store.open(bare):
        pass


@pytest.fixture
def holder(bare: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    program = f"import fcntl, sys; f = open({str(bare / 'datakit.lock')!r}, 'w'); " + (
        "fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        ["python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


async def test_the_lock_ends_with_its_process(bare: Path, holder: subprocess.Popen[bytes]) -> None:
    assert "another DataKit" in await refusal(bare)
    holder.kill()
    holder.wait()
    async with Store.open(bare):
        pass


async def test_a_repository_that_cannot_be_written_is_refused(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        # Root may write anything, so the kernel's answer is given in its place.
        monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "objects")
    else:
        (bare / "objects").chmod(0o500)
    assert "cannot be written" in await refusal(bare)


async def test_a_stale_lock_of_a_ref_is_removed_when_the_store_opens(bare: Path) -> None:
    stale = bare / "refs" / "heads" / "main.lock"
    stale.write_text("")
    os.utime(stale, (0, 0))
    async with open_store(bare) as store:
        assert not stale.exists()
        transaction = store.transaction("main")
        transaction.tree.put("a", b"1")
        await transaction.commit()
