"""Adapters for other frameworks, with real releases of them, each in an environment of its own."""
