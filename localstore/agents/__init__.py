"""Agents, teams and workflows, their runs, models, prompts and tools."""
