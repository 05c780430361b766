"""Upgrade or convert many documents, and undo that."""

from localstore.maintenance.upgrade.apply import upgrade
from localstore.maintenance.upgrade.convert import convert
from localstore.maintenance.upgrade.diff import unified_diff
from localstore.maintenance.upgrade.plan import Plan, is_folder_of_agno, make_plan
from localstore.maintenance.upgrade.preview import Change, preview
from localstore.maintenance.upgrade.results import Problem, Undone, Upgraded
from localstore.maintenance.upgrade.undo import undo

__all__ = [
    "Change",
    "Plan",
    "Problem",
    "Undone",
    "Upgraded",
    "convert",
    "is_folder_of_agno",
    "make_plan",
    "preview",
    "undo",
    "unified_diff",
    "upgrade",
]
