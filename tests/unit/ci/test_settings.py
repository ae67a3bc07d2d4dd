"""What a service is told of where builds run, checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from datakit_ci.settings import ServiceSettings
from datakit_core.errors import ConfigError


def settings(**values: object) -> ServiceSettings:
    places = dict.fromkeys(("pipeline", "database", "accounts", "work"), Path("x"))
    return ServiceSettings.checked(**places, **values)


def test_builds_run_beside_the_engine_unless_something_else_is_said() -> None:
    assert settings().executor == "local"
    there = settings(executor="dask:tls://farm:8786", executor_tls="ca-file=ca.pem")
    assert there.executor == "dask:tls://farm:8786"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"executor": "there"}, "--executor: write local, dask:tls://HOST:PORT"),
        ({"executor": "dask:http://farm"}, "--executor: write local"),
        ({"executor_tls": "ca-file=x"}, "--executor-tls is for --executor dask:tls://"),
        ({"executor": "dask:tcp://a:1", "executor_tls": "cert=x"}, "--executor-tls is for"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(values: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings(**values)
    assert said in str(refused.value)
