"""Images as terms: built from trees, run on trees, or published by others.

An image is in the tree of its term as ``image.json`` (id, tag, labels), with the recipe it was made
from below ``recipe/``. What follows looks at ``image.json``; only if the engine has lost the image
is the recipe looked at, and the image built again. A build is keyed by its context, from which
``.dockerignore`` has been applied before, its arguments, and the images that it is based on.

Without an engine jobs are pending, and go on when one appears. ``DOCKER_HOST`` of the service says
which engine. Whoever may use an engine is as good as root on its machine.

Stages with other options than those of another image or container need a name of their own, given
as ``stage=``: of one name there is one stage in a project.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, Unpack

from datakit_ci.conditions import FACTS
from datakit_ci.lookup import check_path
from datakit_ci.need import HasEngine
from datakit_ci.operation import Head
from datakit_ci.options import check_variables, parse_size
from datakit_ci.plugins.docker_client import Docker
from datakit_ci.plugins.docker_options import ContainerOptions, ImageOptions, check_known
from datakit_ci.plugins.dockerignore import ignored
from datakit_ci.stage import Stage, StageFailed, StageTransient, StageValue, stage
from datakit_ci.term import Term, gate, join, pending, return_
from datakit_ci.tree import PlainTree, Tree
from datakit_core.errors import ConfigError
from datakit_core.store.objects import EMPTY_TREE

__all__ = ["NO_ENGINE", "build", "published", "run"]

NO_ENGINE: Final = "no container engine"
"""Why a job waits; it goes on when there is one."""

_IMAGE = "image.json"
_RECIPE = "recipe"
_NETWORKS = ("default", "none", "host")
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]*\Z")
_ATTEMPTS = 3
_LIMITS = ("--memory=2000000000", "--cpus=1", "--pids-limit=512")
"""Unless something else is given."""

T = TypeVar("T")


def build(
    source: Term[Tree],
    *,
    dockerfile: str = "Dockerfile",
    from_: Term[Tree] | Mapping[str, Term[Tree]] | None = None,
    args: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
    network: str = "default",
    stage: str = "docker-build",
    **options: Unpack[ImageOptions],
) -> Term[Tree]:
    """An image, built from the tree ``source``.

    Args:
        source: The context; what its ``.dockerignore`` leaves out cannot start a build.
        dockerfile: Path in the context.
        from_: Images for ``ARG``s of the Dockerfile, by their names; one alone is for ``BASE``.
        args: Other build arguments.
        tags: Further names for the image in the engine.
        network: What its commands reach: ``default``, ``none`` or ``host``.
        stage: What its stage is called; one with other options needs another name.
        options: When and where it is built. Of its own it has ``timeout="1h"`` and ``retry=3``.

    Raises:
        ConfigError: An argument makes no sense.
    """
    check_known("docker.build", options, ImageOptions)
    bases = {"BASE": from_} if isinstance(from_, Term) else dict(from_ or {})
    given = check_variables("docker-build", args or {})
    if network not in _NETWORKS:
        raise ConfigError(f"docker.build: network: {network!r} is none of {', '.join(_NETWORKS)}")
    for tag in tags:
        _check_reference("docker.build: tags", tag)
    context = docker_context(_with_engine(source), dockerfile=check_path(dockerfile))
    recipe = join({"context": context, **{f"from/{name}": base for name, base in bases.items()}})
    how = {"args": dict(given), "network": network, "tags": list(tags)}
    staged: Stage[...] = docker_build.under(name=stage, **options)
    built = staged(recipe, dockerfile=dockerfile, **_but(how, network="default"))
    return join({"": built, _RECIPE: recipe})


def run(
    image: Term[Tree],
    command: str | Sequence[str],
    *,
    source: Term[Tree] | None = None,
    outputs: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    network: str = "none",
    memory: int | str = "2g",
    cpus: float = 1.0,
    pids: int = 512,
    stage: str = "docker-run",
    **options: Unpack[ContainerOptions],
) -> Term[Tree]:
    """What a command leaves behind that runs in an image.

    Args:
        image: Of :func:`build` or :func:`published`.
        command: For ``sh -c``, or a program and its arguments.
        source: Files, put into ``/work``, where the command starts.
        outputs: Paths below ``/work`` that it must leave behind: the output tree.
        env: Environment variables.
        network: ``none``, ``default`` or ``host``.
        memory: What its processes may use together, such as ``500m``.
        cpus: How many processors it may keep busy.
        pids: How many processes it may have at a time.
        stage: What its stage is called; one with other options needs another name.
        options: When and where it runs, and what it is told: its secrets and facts are variables
            in the container. Of its own it has ``timeout="1h"`` and ``retry=3``.

    Raises:
        ConfigError: An argument makes no sense.
    """
    check_known("docker.run", options, ContainerOptions)
    if network not in _NETWORKS:
        raise ConfigError(f"docker.run: network: {network!r} is none of {', '.join(_NETWORKS)}")
    if not command or cpus <= 0 or pids <= 0:
        raise ConfigError("docker.run: command, cpus and pids cannot be empty or nothing")
    limits = [f"--memory={parse_size(memory)}", f"--cpus={cpus:g}", f"--pids-limit={pids}"]
    how = {
        "outputs": [check_path(path) for path in outputs],
        "env": dict(check_variables("docker-run", env or {})),
        "network": network,
        "limits": limits,
        "told": _variables_of(options),
    }
    words = command if isinstance(command, str) else list(command)
    staged: Stage[...] = docker_run.under(name=stage, **options)
    given = join({"image": image, **({} if source is None else {"source": source})})
    usual = _but(how, network="none", limits=list(_LIMITS))
    return staged(_with_engine(given), command=words, **usual)


def published(
    name: str, *, stage: str = "docker-published", **options: Unpack[ImageOptions]
) -> Term[Tree]:
    """An image of a registry, by its name; looked at anew every hour.

    If the registry cannot be reached, an image of that name that the engine has will do.

    Args:
        name: Such as ``debian:12``, or with a digest.
        stage: What its stage is called; one with other options needs another name.
        options: When it is looked at. Of its own it has ``every="1h"``, ``latched=True``,
            ``timeout="30m"`` and ``retry=3``.

    Raises:
        ConfigError: An argument makes no sense.
    """
    check_known("docker.published", options, ImageOptions)
    _check_reference("docker.published", name)
    staged = docker_published.under(name=stage, **options)
    return staged(_with_engine(return_(Tree(EMPTY_TREE))), name=name)


def _with_engine(value: Term[T]) -> Term[T]:
    """``value``, once there is an engine; so the graph is known and checked before."""
    return gate(value, _ENGINE)


def _there(is_there: bool) -> Term[bool]:
    return return_(True) if is_there else pending(NO_ENGINE)


_ASKED: Final[Term[bool]] = Term(Head(HasEngine(), "container engine"))
_ENGINE: Final = _ASKED.bind(_there, "container engine")


def _variables_of(options: ContainerOptions) -> list[str]:
    """The variables that a stage with these options is given besides its own."""
    secret = options.get("secrets", ())
    return sorted({*secret, *(FACTS[each] for each in options.get("facts", ()))})


def _but(given: Mapping[str, object], **usual: object) -> dict[str, object]:
    """``given`` without what is empty or usual, as people read it in the names of builds."""
    return {name: value for name, value in given.items() if value and value != usual.get(name)}


def _check_reference(whose: str, name: object) -> None:
    if not isinstance(name, str) or not _REFERENCE.match(name):
        raise ConfigError(f"{whose}: {name!r} is not an image's name, such as debian:12")


@stage(name="docker-context", timeout="10m")
def docker_context(source: PlainTree, dockerfile: str) -> StageValue:
    """What the builder can see: the source without what ``.dockerignore`` names."""
    if not source.exists(dockerfile):
        raise StageFailed(f"there is no {dockerfile}")
    if not source.exists(".dockerignore"):
        return source.tree
    leaves_out = ignored(source.read(".dockerignore").decode(errors="replace"))
    always = {dockerfile, ".dockerignore"}
    paths = [path for path in source.walk() if path in always or not leaves_out(path)]
    return source.checkout("context", *paths)


@stage(name="docker-build", timeout="1h", retry=_ATTEMPTS)
def docker_build(
    recipe: PlainTree,
    dockerfile: str,
    args: dict[str, str] | None = None,
    network: str = "default",
    tags: list[str] | None = None,
) -> StageValue:
    """The image of a recipe, as ``image.json``."""
    how = {"dockerfile": dockerfile, "args": args or {}, "network": network, "tags": tags or []}
    docker = Docker()
    docker.tidy()
    return _described(docker, _build(docker, recipe, how, Path("build")), {"how": how})


@stage(name="docker-run", timeout="1h", retry=_ATTEMPTS)
def docker_run(
    given: PlainTree,
    command: str | list[str],
    outputs: list[str] | None = None,
    env: dict[str, str] | None = None,
    network: str = "none",
    limits: list[str] | None = None,
    told: list[str] | None = None,
) -> StageValue:
    """What a container leaves behind."""
    docker = Docker()
    docker.tidy()
    image = _needed(docker, given.subtree("image"), Path("image"))
    variables = [f"--env={name}={value}" for name, value in sorted((env or {}).items())]
    # Without a value docker takes its own: so a secret is on no command line.
    variables += [f"--env={name}" for name in told or []]
    safety = ["--security-opt=no-new-privileges", "--cap-drop=NET_RAW", "--init"]
    options = [f"--network={network}", *(limits or _LIMITS), *variables, *safety]
    words = ["sh", "-c", command] if isinstance(command, str) else command
    container = f"datakit-{secrets.token_hex(8)}"
    try:
        docker.create(container, [*options, "--workdir=/work"], image, words)
        return _run(docker, container, given, outputs or [])
    finally:  # also when the build is stopped
        docker.remove(container)


@stage(name="docker-published", timeout="30m", retry=_ATTEMPTS, every="1h", latched=True)
def docker_published(nothing: PlainTree, name: str) -> StageValue:
    """An image of a registry, as ``image.json``."""
    docker = Docker()
    if not docker.pull(name) and not docker.has(name):
        raise StageTransient(f"image {name} cannot be had; the log says why")
    return _described(docker, docker.ask(name, "{{.Id}}"), {"name": name})


def _described(docker: Docker, image: str, made: Mapping[str, object]) -> StageValue:
    docker.tag(image, tag := _tag(image))
    digests = json.loads(docker.ask(image, "{{json .RepoDigests}}")) or []
    about = {
        "version": 1,
        "id": image,
        "tag": tag,
        "digests": sorted(digests),
        "labels": docker.labels_of(image),
        **made,
    }
    return {_IMAGE: json.dumps(about, indent=1, sort_keys=True) + "\n"}


def _tag(image: str) -> str:
    """A name by which any builder finds an image: BuildKit takes no ids in ``FROM``."""
    return f"datakit-ci:{image.rpartition(':')[2][:24]}"


def _needed(docker: Docker, image: PlainTree, directory: Path) -> str:
    """The tag of an image, which is made again if the engine has lost it."""
    about = json.loads(image.read(_IMAGE))
    if docker.has(about["tag"]) and docker.ask(about["tag"], "{{.Id}}") == about["id"]:
        return str(about["tag"])
    if "name" in about:
        again = next(iter(about["digests"]), about["name"])
        if not docker.pull(again):
            raise StageTransient(f"image {again} is gone and cannot be had")
        found = docker.ask(again, "{{.Id}}")
    else:
        print(f"image {about['tag']} is gone; building it again", flush=True)  # noqa: T201 - the log
        found = _build(docker, image.subtree(_RECIPE), about["how"], directory)
    docker.tag(found, tag := _tag(found))
    return tag


def _build(docker: Docker, recipe: PlainTree, how: Mapping[str, object], directory: Path) -> str:
    match how:
        case {
            "dockerfile": str(file),
            "args": dict(args),
            "network": str(network),
            "tags": list(tags),
        }:
            pass
        case _:
            raise StageFailed(f"this is no recipe: {how!r}")
    directory.mkdir()
    bases = recipe.list("from") if recipe.exists("from") else ()
    found = {
        name: _needed(docker, recipe.subtree(f"from/{name}"), directory / name) for name in bases
    }
    context = recipe.checkout(directory / ".context", "context") / "context"
    image = docker.build(context, file, {**args, **found}, network)
    for tag in tags:
        docker.tag(image, str(tag))
    return image


def _run(docker: Docker, container: str, given: PlainTree, outputs: Sequence[str]) -> StageValue:
    if given.exists("source"):
        files = given.checkout("input", "source") / "source"
        if not docker.copy(f"{files}/.", f"{container}:/work"):
            raise StageTransient("the files cannot be copied into the container")
    if status := docker.start(container):
        short = (
            "it used all the memory that it may" if docker.was_short_of_memory(container) else ""
        )
        raise StageFailed(short or f"exited with status {status}")
    made = Path("made")
    for path in outputs:
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        if not docker.copy(f"{container}:/work/{path}", str(made / path)):
            raise StageFailed(f"made no {path}, which it declares as outputs")
    return made if outputs else {}
