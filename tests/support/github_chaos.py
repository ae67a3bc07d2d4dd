"""What people and programs do to a repository on GitHub and to a database, at random."""

from __future__ import annotations

import random

from datakit_ci.bridges.github.resources import CommentKey, PullKey, StatusKey
from tests.support.fake_github import FakePull, Fault
from tests.support.github_world import World, commit_id

__all__ = ["Chaos"]

_STATES = ("pending", "success", "failure", "error")


class Chaos:
    """Does something to one side or the other."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.numbers = iter(range(1, 10_000))

    def on_github(self) -> None:
        """Somebody works on GitHub."""
        hub, dice = self.world.repository, self.random
        pulls = [pull for pull in hub.pulls.values() if pull.state == "open"]
        match dice.randrange(9):
            case 0:
                number = next(self.numbers)
                hub.open_pull(
                    FakePull(number, self.commit(), f"Pull {number}", fork=dice.random() < 0.5)
                )
            case 1:
                hub.set_ref(self.ref(), self.commit())
            case 2 if hub.refs:
                hub.remove_ref(dice.choice(sorted(hub.refs)))
            case 3 if pulls:
                hub.change_pull(dice.choice(pulls).number, head=self.commit())
            case 4 if pulls:
                hub.change_pull(dice.choice(pulls).number, title=self.word())
            case 5 if pulls:
                hub.comment(dice.choice(pulls).number, "cid", self.word())
            case 6 if pulls:
                pull = dice.choice(pulls)
                if pull.comments:
                    identity = dice.choice(sorted(pull.comments))
                    if dice.random() < 0.3:
                        hub.remove_comment(pull.number, identity)
                    else:
                        hub.edit_comment(pull.number, identity, self.word())
            case 7 if pulls and dice.random() < 0.3:
                hub.change_pull(dice.choice(pulls).number, state="closed")
            case 8 if hub.heads():
                commit = dice.choice(sorted(hub.heads()))
                hub.set_status(commit, f"other/{dice.randrange(3)}", dice.choice(_STATES))
            case _:
                pass

    async def in_database(self) -> None:
        """A client edits the database, rightly or wrongly."""
        snapshot, dice = await self.world.snapshot(), self.random
        pulls = [key.number for key in snapshot if isinstance(key, PullKey)]
        comments = [key for key in snapshot if isinstance(key, CommentKey)]
        statuses = [key for key in snapshot if isinstance(key, StatusKey)]
        heads = sorted(self.world.repository.heads())
        edit: dict[str, bytes | None] = {}
        match dice.randrange(8):
            case 0 | 1 if heads:
                status = f"commit/{dice.choice(heads)}/status/ci/datakit/{dice.randrange(4)}"
                edit = {
                    f"{status}/state": dice.choice(_STATES).encode(),
                    f"{status}/description": self.word().encode(),
                }
            case 2 if pulls:
                edit = {f"pr/{dice.choice(pulls)}/title": self.word().encode()}
            case 3 if pulls:
                edit = {
                    f"pr/{dice.choice(pulls)}/comments/{self.word()}/body": self.word().encode()
                }
            case 4 if comments:
                key = dice.choice(comments)
                edit = {f"pr/{key.number}/comments/{key.id}/body": self.word().encode()}
            case 5 if pulls:
                edit = {f"pr/{dice.choice(pulls)}/head": commit_id(77).encode()}
            case 6 if statuses:
                key_ = dice.choice(statuses)
                edit = {f"commit/{key_.commit}/status/{key_.context}/state": None}
            case 7:
                edit = {".dirty": b""}
            case _:
                pass
        if edit:
            await self.world.edit(edit)

    def commit(self) -> str:
        return commit_id(self.random.randrange(1, 60))

    def ref(self) -> str:
        return f"{self.random.choice(('heads', 'tags'))}/{self.random.choice('abcde')}"

    def word(self) -> str:
        return f"w{self.random.getrandbits(40):x}"

    def faults(self) -> list[Fault]:
        """Limits and broken answers to the next requests; some after the work was done."""
        if self.random.random() < 0.5:
            return [Fault(403, {"Retry-After": "1"})]
        return [Fault(502, lost=self.random.random() < 0.5)] * self.random.randrange(1, 6)
