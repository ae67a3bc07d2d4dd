"""DataKitCI: stages from an input tree to an output tree, whose results are commits.

This is what a pipeline module imports::

    from datakit_ci import Config, Project, shell

    lint = shell("lint", "ruff check .", timeout="5m")

    def jobs(target):
        return {"lint": lint(target.source)}

    config = Config(projects=[Project("me/my-project", jobs)])
"""

from datakit_ci.acl import (
    Acl,
    all_of,
    any_of,
    can_read_github,
    everyone,
    github_org,
    group,
    logged_in,
    nobody,
    username,
)
from datakit_ci.flow import Flow, flow, publish
from datakit_ci.matrix import Matrix, matrix
from datakit_ci.notice import Mail, Slack
from datakit_ci.project import Config, Project, TargetTerms
from datakit_ci.result import Failed, Ok, Pending, Result
from datakit_ci.retention import Retention
from datakit_ci.secrets import Secret
from datakit_ci.stage import Stage, StageFailed, StageTransient, shell, stage
from datakit_ci.target import Target
from datakit_ci.term import (
    Term,
    all_,
    branch,
    branch_head,
    catch,
    ci_status,
    ci_success_target_url,
    ci_target_url,
    every,
    fail,
    gate,
    head,
    job_id,
    join,
    map_list,
    pair,
    pending,
    return_,
    state,
    tag,
    tree_of,
    wait_for,
    wait_for_all,
    without_logs,
)
from datakit_ci.tree import PlainTree, Tree
from datakit_ci.webhook import Webhook

__all__ = [
    "Acl",
    "Config",
    "Failed",
    "Flow",
    "Mail",
    "Matrix",
    "Ok",
    "Pending",
    "PlainTree",
    "Project",
    "Result",
    "Retention",
    "Secret",
    "Slack",
    "Stage",
    "StageFailed",
    "StageTransient",
    "Target",
    "TargetTerms",
    "Term",
    "Tree",
    "Webhook",
    "all_",
    "all_of",
    "any_of",
    "branch",
    "branch_head",
    "can_read_github",
    "catch",
    "ci_status",
    "ci_success_target_url",
    "ci_target_url",
    "every",
    "everyone",
    "fail",
    "flow",
    "gate",
    "github_org",
    "group",
    "head",
    "job_id",
    "join",
    "logged_in",
    "map_list",
    "matrix",
    "nobody",
    "pair",
    "pending",
    "publish",
    "return_",
    "shell",
    "stage",
    "state",
    "tag",
    "tree_of",
    "username",
    "wait_for",
    "wait_for_all",
    "without_logs",
]
