"""What a service is started with when repositories bring their own pipelines.

``datakit-ci serve examples/repository/service.py --repository me/app:PATH`` tests each branch of
the repository at PATH by the file ``ci/pipeline.py`` of its own; ``ci/`` beside this file is one to
begin with. What is declared here holds for all: limited resources, secrets, how long results are
kept.
"""

from __future__ import annotations

from datakit_ci import Config, Project, Retention

config = Config(
    projects=[Project("me/app", pipeline="ci/pipeline.py", dashboards=["main"])],
    pools={"database": 1},
    retention=Retention(days=90),
)
