"""The steps that lead from an older document to today's: pure functions from mapping to mapping."""

from localstore.versions.chain import STEPS, downgraded, upgraded, version_of
from localstore.versions.step import CannotUpgrade, Document, Step

__all__ = ["STEPS", "CannotUpgrade", "Document", "Step", "downgraded", "upgraded", "version_of"]
