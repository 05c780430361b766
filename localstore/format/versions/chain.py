"""All upgrade steps in order, and the functions that apply them."""

from collections.abc import Mapping
from typing import Any

from localstore.format.versions import agno
from localstore.format.versions.step import CannotUpgrade, Document, Step
from localstore.models.schema import SCHEMA_VERSION

STEPS: tuple[Step, ...] = (Step(1, "Sessions of agno 1.x become localstore documents", agno.up, agno.down),)
"""`STEPS[n]` converts version n to version n + 1. The result of the last step has version SCHEMA_VERSION."""


def version_of(document: Mapping[str, Any]) -> int | None:
    """Return the schema version of a document, or 0 for a session that agno 1.x wrote.

    Return None if the mapping is neither, or if its `schema_version` is not a whole number of at least 0.
    """
    version = document.get("schema_version")
    if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
        return version
    return 0 if version is None and agno.looks_like(document) else None


def upgraded(document: Document, version: int) -> Document:
    """Return a document of `version` converted to SCHEMA_VERSION; the document itself if that is its version.

    Does not change `document`. Raises CannotUpgrade if it is invalid, or if there is no such version.
    """
    if not 0 <= version <= SCHEMA_VERSION:
        raise CannotUpgrade(f"expected a version from 0 to {SCHEMA_VERSION}, not {version}", ("schema_version",))
    for step in STEPS[version:]:
        document = step.up(document)
    return document


def downgraded(document: Document, version: int) -> Document | None:
    """Return a document of SCHEMA_VERSION converted back to `version`; the document itself if that is its version.

    Return None if a step cannot be reversed. Does not change `document`. Raises CannotUpgrade if it is invalid, or if
    there is no such version.
    """
    if not 0 <= version <= SCHEMA_VERSION:
        raise CannotUpgrade(f"expected a version from 0 to {SCHEMA_VERSION}, not {version}", ("schema_version",))
    for step in reversed(STEPS[version:]):
        if step.down is None:
            return None
        document = step.down(document)
    return document
