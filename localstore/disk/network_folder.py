"""Whether a folder is shared with other machines, on which SQLite must not keep a database in WAL mode.

Processes on one machine share the state of such a database through memory, which other machines do not see; see
https://www.sqlite.org/wal.html. The locks of a store are not affected.
"""

import os
import re
import sys

_MOUNTS = "/proc/self/mountinfo"
_SHARED = frozenset(
    (
        *("acfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs"),
        *("nfs4", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "vmhgfs"),
        *("fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.rclone", "fuse.s3fs"),
        *("fuse.sshfs", "fuse.vmhgfs-fuse"),
    )
)
"""The types of file systems that other machines, or the host of a virtual machine, may use at the same time."""


def is_shared(folder: str) -> bool:
    """Return whether a folder is on a file system that other machines may use too.

    Return False where the system does not say so; only Linux does. `folder` is a real path.
    """
    return sys.platform == "linux" and file_system_of(folder) in _SHARED


def file_system_of(folder: str) -> str:
    """Return the type of the file system that a folder is on, as Linux names it, or "" if it is not known."""
    found, longest = "", -1
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                mount, _, source = line.partition(" - ")
                fields = mount.split(" ")
                point = fields[4]
                if "\\" in point:
                    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
                inside = folder == point or folder.startswith(point.rstrip(os.sep) + os.sep)
                if inside and len(point) >= longest:  # a later mount covers an earlier one
                    found, longest = source.split(" ", 1)[0], len(point)
    except (OSError, IndexError):
        return ""
    return found
