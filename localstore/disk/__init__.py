"""Files and folders: everything that touches the disk."""
