"""The type of the functions that follow the progress of long work."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the number of items done so far and the total number."""
