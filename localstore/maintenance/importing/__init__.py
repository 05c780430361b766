"""Import the sessions of other programs."""

from localstore.maintenance.importing.importer import Imported, import_from
from localstore.maintenance.importing.source import KINDS, Kind, Skipped

__all__ = ["KINDS", "Imported", "Kind", "Skipped", "import_from"]
