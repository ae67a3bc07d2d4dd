"""The clerk: what a command means for the builds that are wanted now, and writing it down."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from datakit_ci.builds import Builds
from datakit_ci.clock import Clock
from datakit_ci.control import Approve, Cancel, Command, Confirm, Pause, Rebuild, Resume
from datakit_ci.docket import Docket, approval_path, build_path, project_path
from datakit_ci.need import Approved, Build, Need
from datakit_ci.rulings import Ruling
from datakit_ci.state import BuildId, JobState, Status, TargetState
from datakit_ci.target import Target
from datakit_core.errors import InvalidArgument, NoEntry

__all__ = ["Clerk", "Order"]

_BAD = (Status.FAILURE, Status.ERROR, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class Order:
    """What a command comes to.

    Attributes:
        done: What is done, for people.
        user: Who says so.
        files: The rulings on the branch ``control``, by path; none where one is taken back.
    """

    done: str
    user: str
    files: Mapping[str, Ruling | None]

    @property
    def message(self) -> str:
        """For the commit."""
        return f"{self.done[:1].upper()}{self.done[1:]}\n\nBy: {self.user}\n"


class Clerk:
    """Carries commands out: each that changes anything is one commit with its user's name."""

    def __init__(
        self,
        docket: Docket,
        builds: Builds,
        clock: Clock,
        targets: Callable[[Target], TargetState | None],
        others: Callable[[Build, Target], bool],
        asks: Callable[[Target, Need[Any]], bool],
    ) -> None:
        """Write to ``docket``.

        Args:
            docket: Takes the rulings, and has them carried out.
            builds: What is wanted now.
            clock: For the time of a ruling.
            targets: The state of a target.
            others: Whether another target than this one wants a build.
            asks: Whether a target asks for something.
        """
        self._docket = docket
        self._builds = builds
        self._clock = clock
        self._targets = targets
        self._others = others
        self._asks = asks

    async def carry_out(self, command: Command, projects: Collection[str]) -> str:
        """Do what ``command`` says; returns what was done, for people.

        Raises:
            NoEntry: There is no such project, target or job, or nobody wants the build.
            InvalidArgument: There is nothing to do: it is not under way, or waits for nobody.
        """
        order = self.order(command, projects)
        await self._docket.write(order.message, order.files)
        return order.done

    def order(self, command: Command, projects: Collection[str]) -> Order:
        """What ``command`` means now; nothing is done yet. Raises as :meth:`carry_out`."""
        match command:
            case Pause(project=project) | Resume(project=project):
                if project not in projects:
                    raise NoEntry(f"there is no project {project}")
                return self._pause(command)
            case Approve():
                return self._approve(command)
            case Confirm():
                held = self._held(command)
                return self._rule("confirm", "confirmed", command.user, held)
            case Cancel():
                return self._rule("cancel", "cancelled", command.user, self._stoppable(command))
            case Rebuild():
                return self._rebuild(command)

    def _pause(self, command: Pause | Resume) -> Order:
        project, path = command.project, project_path(command.project)
        paused = self._docket.rulings.paused.get(project)
        if isinstance(command, Pause) and paused is None:
            ruling = self._ruling(command.user)
            return Order(f"paused {project}", command.user, {path: ruling})
        if isinstance(command, Resume) and paused is not None:
            return Order(f"resumed {project}", command.user, {path: None})
        if paused is not None:
            raise InvalidArgument(f"{project} is paused already, by {paused.user}")
        raise InvalidArgument(f"{project} is not paused")

    def _approve(self, command: Approve) -> Order:
        target, head = command.what, self._state(command.what).head
        if head is None or command.commit not in (None, head):
            raise InvalidArgument(
                f"{target.path} is at another commit by now: look at that, and approve it"
            )
        if not self._asks(target, Approved(target)):
            raise InvalidArgument(f"{target.path} does not wait for approval")
        approved = self._docket.rulings.approved
        if (ruling := approved.get((target, head))) is not None:
            raise InvalidArgument(
                f"{target.path} is approved at {head[:12]} already, by {ruling.user}"
            )
        files: dict[str, Ruling | None] = {
            approval_path(*old): None for old in approved if old[0] == target
        }
        files[approval_path(target, head)] = self._ruling(command.user)
        return Order(f"approve {target.path} at {head[:12]}", command.user, files)

    def _rebuild(self, command: Rebuild) -> Order:
        builds = list(self._to_rebuild(command))
        if not builds:
            raise InvalidArgument(f"{_title(command.what)}: there is nothing to rebuild")
        files: dict[str, Ruling | None] = {}
        for build in builds:
            files[build_path("rebuilt", build)] = self._ruling(command.user, build)
            files[build_path("cancelled", build)] = None
        return Order(f"rebuild {_names(builds)}", command.user, files)

    def _to_rebuild(self, command: Rebuild) -> Iterable[BuildId]:
        """The builds that are done, as far as the command is about them."""
        what = command.what
        if isinstance(what, BuildId):
            if self._builds.standing(what) is None:
                raise NoEntry(f"{_title(what)}: no target wants this build now")
            found: Iterable[BuildId] = (what,)
        elif command.job:
            found = self._of_job(self._job(what, command.job))
        else:
            found = self._behind(what)
        for build in found:
            status = self._builds.standing(build)
            if status in _BAD or (status is Status.SUCCESS and not command.only_failed):
                yield build

    def _of_job(self, job: JobState) -> Iterable[BuildId]:
        """A job's own build; of one that did not get that far, what it was kept from by."""
        if job.status is not Status.BLOCKED:
            return job.builds[-1:]
        return [build for build in job.builds if self._builds.standing(build) in _BAD]

    def _job(self, target: Target, name: str) -> JobState:
        for job in self._state(target).jobs:
            if job.name == name:
                return job
        raise NoEntry(f"{target.path} has no job {name}")

    def _state(self, target: Target) -> TargetState:
        state = self._targets(target)
        if state is None:
            raise NoEntry(f"there is no target {target.path}")
        return state

    def _behind(self, what: Target | BuildId, job: str = "") -> list[BuildId]:
        """The builds of a target's jobs, or of one of them, each once; or the one build."""
        if isinstance(what, BuildId):
            return [what]
        jobs = (self._job(what, job),) if job else self._state(what).jobs
        return list(dict.fromkeys(build for each in jobs for build in each.builds))

    def _stoppable(self, command: Cancel) -> Collection[BuildId]:
        """What runs or waits, and is not wanted by another target than the one to be stopped."""
        what = command.what
        running = [build for build in self._behind(what, command.job) if self._is_live(build)]
        if isinstance(what, Target):
            running = [build for build in running if not self._is_shared(build, what)]
        if not running:
            raise InvalidArgument(f"{_title(what)}: nothing is under way")
        return running

    def _held(self, command: Confirm) -> Collection[BuildId]:
        """What waits for confirmation."""
        what = command.what
        if isinstance(what, BuildId) and self._builds.standing(what) is None:
            raise NoEntry(f"{_title(what)}: no target wants this build now")
        builds = self._behind(what, command.job)
        held = [build for build in builds if self._builds.waits_for_confirmation(build)]
        if not held:
            raise InvalidArgument(f"{_title(what)} does not wait for confirmation")
        return held

    def _is_live(self, build: BuildId) -> bool:
        status = self._builds.standing(build)
        return status is not None and not status.is_final

    def _is_shared(self, build: BuildId, target: Target) -> bool:
        return any(self._others(need, target) for need in self._builds.needs(build))

    def _rule(self, verb: str, kind: str, user: str, builds: Collection[BuildId]) -> Order:
        files = {build_path(kind, build): self._ruling(user, build) for build in builds}
        return Order(f"{verb} {_names(builds)}", user, files)

    def _ruling(self, user: str, build: BuildId | None = None) -> Ruling:
        recorded = None if build is None else self._builds.recorded(build)
        return Ruling(user, self._clock.now(), None if recorded is None else recorded.started)


def _title(what: Target | BuildId) -> str:
    if isinstance(what, Target):
        return what.path
    return f"{what.stage} of {what.project} ({what.key[:12]})"


def _names(builds: Collection[BuildId]) -> str:
    return ", ".join(_title(build) for build in builds)
