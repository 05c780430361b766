"""Upgrade steps: pure functions that convert older documents to the current version."""

from localstore.format.versions.chain import STEPS, downgraded, upgraded, version_of
from localstore.format.versions.step import CannotUpgrade, Document, Step

__all__ = ["STEPS", "CannotUpgrade", "Document", "Step", "downgraded", "upgraded", "version_of"]
