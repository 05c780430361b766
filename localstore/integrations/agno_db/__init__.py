"""Storage for agno 2.x and 3.x: its sessions as localstore documents."""

from localstore.integrations.agno_db.local_db import LocalDb

__all__ = ["LocalDb"]
