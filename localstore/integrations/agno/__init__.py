"""Storage for agno 1.x: its sessions as localstore documents."""

from localstore.integrations.agno.storage import JsonStorage, YamlStorage

__all__ = ["JsonStorage", "YamlStorage"]
