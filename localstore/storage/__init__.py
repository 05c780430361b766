"""The public storages."""

from localstore.storage.storage import JsonStorage, Storage, YamlStorage

__all__ = ["JsonStorage", "Storage", "YamlStorage"]
