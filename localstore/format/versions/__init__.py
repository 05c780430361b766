"""The steps that lead from an older document to today's: pure functions from mapping to mapping."""

from localstore.format.versions.chain import STEPS, downgraded, upgraded, version_of
from localstore.format.versions.step import CannotUpgrade, Document, Step

__all__ = ["STEPS", "CannotUpgrade", "Document", "Step", "downgraded", "upgraded", "version_of"]
