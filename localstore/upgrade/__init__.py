"""Upgrade, convert and undo: what rewrites many documents at once."""

from localstore.upgrade.apply import upgrade
from localstore.upgrade.convert import convert
from localstore.upgrade.diff import unified_diff
from localstore.upgrade.plan import Plan, is_folder_of_agno, make_plan
from localstore.upgrade.preview import Change, preview
from localstore.upgrade.results import Problem, Undone, Upgraded
from localstore.upgrade.undo import undo

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
