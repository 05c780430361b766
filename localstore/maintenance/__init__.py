"""Maintain a whole store: check, repair, rescue, trash and upgrade."""
