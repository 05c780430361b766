"""Tests of the storages in databases."""
