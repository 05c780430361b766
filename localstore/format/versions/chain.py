"""All steps in order, and the way through them."""

from collections.abc import Mapping
from typing import Any

from localstore.format.versions import agno
from localstore.format.versions.step import CannotUpgrade, Document, Step
from localstore.models.schema import SCHEMA_VERSION

STEPS: tuple[Step, ...] = (Step(1, "Sessions of agno 1.x become localstore documents", agno.up, agno.down),)
"""`STEPS[n]` leads from version n to version n + 1; the last one to SCHEMA_VERSION."""


def version_of(document: Mapping[str, Any]) -> int | None:
    """The document's schema version; 0 for a session of agno 1.x, which names none; None for anything else."""
    version = document.get("schema_version")
    if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
        return version
    return 0 if version is None and agno.looks_like(document) else None


def upgraded(document: Document, version: int) -> Document:
    """The document, which is of `version`, as one of SCHEMA_VERSION. Raises CannotUpgrade."""
    if not 0 <= version <= SCHEMA_VERSION:
        raise CannotUpgrade(f"expected a version from 0 to {SCHEMA_VERSION}, not {version}", ("schema_version",))
    for step in STEPS[version:]:
        document = step.up(document)
    return document


def downgraded(document: Document, version: int) -> Document | None:
    """The document, which is of SCHEMA_VERSION, as one of `version`; None where a step has no way back.

    Raises CannotUpgrade for a document that is not a valid one.
    """
    if not 0 <= version <= SCHEMA_VERSION:
        raise CannotUpgrade(f"expected a version from 0 to {SCHEMA_VERSION}, not {version}", ("schema_version",))
    for step in reversed(STEPS[version:]):
        if step.down is None:
            return None
        document = step.down(document)
    return document
