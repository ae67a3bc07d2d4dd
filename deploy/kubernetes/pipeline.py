"""What is tested: the checks of one project on GitHub."""

from datakit_ci import Config, Project, can_read_github, shell, username

check = shell("check", "python3 -m compileall -q .", timeout="5m")


def jobs(target):
    """The jobs of one branch, tag or pull request."""
    return {"check": check(target.source)}


config = Config(
    projects=[Project("me/app", jobs, can_read=can_read_github("me/app"))],
    can_build=username("github:me"),
)
