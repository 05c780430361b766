"""Stores in repositories of the real git."""
