"""Prompts: the system message, the history, the question, summaries, and typed answers."""
