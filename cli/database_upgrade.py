"""`localstore upgrade` of a table of agno in a database."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from localstore.databases.opening import upgrade_of, without_password
from localstore.models.figures import counted

from . import output
from .rewrite_result import exit_with_problems, print_plan, print_undone, print_upgraded

if TYPE_CHECKING:
    from localstore.databases.upgrading import DatabaseUpgrade


def upgrade_database(url: str, *, dry_run: bool, diff: bool, undoes: bool, as_json: bool) -> None:
    """Upgrade the table or the collection, show what would be done, or undo an upgrade, and print the result."""
    upgrade = upgrade_of(url)
    if undoes:
        done = upgrade.undo()
        print_undone(done, f"of {upgrade.what} {done.backup}", as_json=as_json)
    elif dry_run or diff:
        _show(upgrade, diff=diff, as_json=as_json)
    else:
        from localstore.models.schema import SCHEMA_VERSION

        upgraded = upgrade.upgrade()
        undo = f"localstore upgrade --undo --store {shlex.quote(without_password(url))}"
        old = f"The old documents are in {upgrade.what} {upgraded.backup}. Undo with: {undo}"
        summary = f"Upgraded {counted(upgraded.documents, 'document')} to version {SCHEMA_VERSION}."
        print_upgraded(upgraded, summary, old, as_json=as_json)


def _show(upgrade: DatabaseUpgrade[Any], *, diff: bool, as_json: bool) -> None:
    from localstore.maintenance.upgrade import Problem, unified_diff

    plan = upgrade.plan()
    if not diff and not as_json:
        print_plan(plan.versions, plan.steps)
    problems = []
    for change in upgrade.preview():
        if isinstance(change, Problem):
            problems.append(change)
        elif diff:
            output.write_bytes(unified_diff(change))
    if as_json:
        output.write_json({**plan.as_dict(), "problems": [problem.as_dict() for problem in problems]})
    exit_with_problems(problems)
