"""Import the sessions of other programs."""

from localstore.maintenance.importing.importer import FolderTarget, Imported, import_from
from localstore.maintenance.importing.source import KINDS, Kind, Skipped

__all__ = ["KINDS", "FolderTarget", "Imported", "Kind", "Skipped", "import_from"]
