"""Accounts and tokens: what is kept of them, and who may read it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datakit_ci import passwords
from datakit_ci.accounts import MOST_TOKENS, AccountBook, NewToken
from datakit_ci.acl import Identity, Role, Scope
from datakit_ci.passwords import verify_password
from datakit_core.errors import ConfigError
from tests.support.visitors import cheap_passwords as cheap_passwords  # a fixture

pytestmark = pytest.mark.usefixtures("cheap_passwords")

PASSWORD = "correct horse battery"
ANN, OCTO = Identity("ann"), Identity("github:octo", frozenset({"github:acme"}))


class Time:
    now_ = datetime(2026, 11, 22, tzinfo=UTC)

    def now(self) -> datetime:
        return self.now_


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def book(tmp_path: Path, time: Time) -> AccountBook:
    return AccountBook.open(tmp_path / "accounts", time.now)


def wanted(time: Time, role: Role = Role.READ, days: int = 7, *projects: str) -> NewToken:
    return NewToken("ci", role, projects or None, time.now() + timedelta(days=days))


def again(book: AccountBook, time: Time) -> AccountBook:
    return AccountBook.open(book.directory, time.now)


def test_the_first_attempt_takes_as_long_for_a_name_that_is_known() -> None:
    """What an unknown name is compared with is made at the first attempt, whosever that is."""
    hashed = passwords.hash_password(PASSWORD)
    passwords._nobodys.cache_clear()
    assert passwords.verify_password(hashed, PASSWORD)
    assert passwords._nobodys.cache_info().currsize == 1


def test_an_account_is_there_after_a_restart(book: AccountBook, time: Time) -> None:
    book.add("ann", PASSWORD, is_admin=True)
    for each in (book, again(book, time)):
        assert verify_password(each.password_hash("ann"), PASSWORD)
        assert not verify_password(each.password_hash("ann"), PASSWORD + "!")
        assert each.is_admin("ann")
        assert each.has_admin


def test_files_are_for_our_user_alone_and_hold_no_password(book: AccountBook, time: Time) -> None:
    book.add("ann", PASSWORD)
    secret = book.make_token(ANN, wanted(time))
    files = [book.directory / name for name in ("users.json", "tokens.json")]
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        assert PASSWORD not in file.read_text()
        assert secret not in file.read_text()
    assert book.directory.stat().st_mode & 0o777 == 0o700
    assert "$argon2id$" in files[0].read_text()
    names = {path.name for path in book.directory.iterdir()}
    assert names == {"lock", "tokens.json", "users.json"}


def test_a_file_that_is_open_to_others_is_refused(book: AccountBook, time: Time) -> None:
    book.add("ann", PASSWORD)
    (book.directory / "users.json").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        again(book, time)


@pytest.mark.parametrize("text", ["", "{", '{"version": 2}', '{"users": {"a": {}}}', '{"x": 1}'])
def test_a_damaged_file_is_named_and_changes_nothing(
    book: AccountBook, time: Time, text: str
) -> None:
    book.add("ann", PASSWORD)
    (book.directory / "users.json").write_text(text)
    with pytest.raises(ConfigError, match=r"users\.json"):
        book.reload()
    assert book.stamp("ann") is not None


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", PASSWORD),
        ("", PASSWORD),
        ("a:b", PASSWORD),
        ("../x", PASSWORD),
        ("a" * 64, PASSWORD),
        ("bob", "short"),
        ("bob", "x" * 257),
    ],
)
def test_what_cannot_be_an_account_is_refused(book: AccountBook, name: str, password: str) -> None:
    book.add("ann", PASSWORD)
    with pytest.raises(ConfigError):
        book.add(name, password)
    assert set(book.accounts) == {"ann"}


def test_only_one_is_the_first_administrator(book: AccountBook, time: Time) -> None:
    other = again(book, time)
    book.add("ann", PASSWORD, is_admin=True, first=True)
    with pytest.raises(ConfigError, match="somebody else"):
        other.add("eve", PASSWORD, is_admin=True, first=True)
    assert set(again(book, time).accounts) == {"ann"}


def test_two_who_write_at_once_lose_nothing(book: AccountBook, time: Time) -> None:
    other = again(book, time)
    book.add("ann", PASSWORD)
    other.add("bob", PASSWORD)
    assert set(again(book, time).accounts) == {"ann", "bob"}


def test_another_password_ends_what_the_old_one_began(book: AccountBook) -> None:
    book.add("ann", PASSWORD, is_admin=True)
    before = book.stamp("ann")
    book.set_password("ann", "another long password")
    assert book.stamp("ann") not in (None, before)
    assert book.is_admin("ann")
    assert not verify_password(book.password_hash("ann"), PASSWORD)
    with pytest.raises(ConfigError, match="no account bob"):
        book.set_password("bob", PASSWORD)


def test_a_removed_account_takes_its_tokens_with_it(book: AccountBook, time: Time) -> None:
    book.add("ann", PASSWORD)
    secret = book.make_token(ANN, wanted(time))
    book.remove("ann")
    assert book.of_token(secret) is None
    assert book.tokens_of("ann") == []
    book.add("ann", PASSWORD)
    assert book.of_token(secret) is None
    with pytest.raises(ConfigError, match="no account bob"):
        book.remove("bob")


def test_a_token_is_good_for_what_it_was_made_for_until_it_is_over(
    book: AccountBook, time: Time
) -> None:
    book.add("ann", PASSWORD, is_admin=True)
    secret = book.make_token(ANN, wanted(time, Role.BUILD, 7, "me/app"))
    assert book.of_token(secret) == (
        Identity("ann", is_admin=True),
        Scope(Role.BUILD, frozenset({"me/app"})),
    )
    assert book.of_token(secret + "x") is None
    assert book.of_token("") is None
    time.now_ += timedelta(days=7)
    assert book.of_token(secret) is None


def test_a_token_of_an_account_elsewhere_knows_its_groups(book: AccountBook, time: Time) -> None:
    secret = book.make_token(OCTO, wanted(time))
    assert book.of_token(secret) == (OCTO, Scope(Role.READ))


def test_only_its_user_revokes_a_token(book: AccountBook, time: Time) -> None:
    secret = book.make_token(OCTO, wanted(time))
    (token,) = book.tokens_of("github:octo")
    book.revoke_token("github:eve", token.id)
    assert book.of_token(secret) is not None
    book.revoke_token("github:octo", token.id)
    assert book.of_token(secret) is None


def test_the_last_use_of_a_token_is_known_and_written_down(book: AccountBook, time: Time) -> None:
    secret = book.make_token(OCTO, wanted(time))
    assert book.tokens_of("github:octo")[0].used is None
    book.of_token(secret)
    assert book.tokens_of("github:octo")[0].used == time.now()
    assert again(book, time).tokens_of("github:octo")[0].used is None
    book.note_uses()
    book.note_uses()
    assert again(book, time).tokens_of("github:octo")[0].used == time.now()


def test_nobody_has_tokens_without_end(book: AccountBook, time: Time) -> None:
    for _ in range(MOST_TOKENS):
        book.make_token(OCTO, wanted(time))
    with pytest.raises(ConfigError, match=f"{MOST_TOKENS} tokens"):
        book.make_token(OCTO, wanted(time))


async def test_what_another_process_changes_counts_at_once(book: AccountBook, time: Time) -> None:
    book.add("ann", PASSWORD)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(book.follow())
        other, number = again(book, time), 0
        while book.stamp(f"user{number - 1}") is None:  # the watch may begin after the first
            await asyncio.to_thread(other.add, f"user{number}", PASSWORD)
            number += 1
            await asyncio.sleep(0.05)
        following.cancel()
    assert book.stamp("ann") is not None
