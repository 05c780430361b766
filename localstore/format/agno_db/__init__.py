"""Sessions of agno 2.x and 3.x to documents and back, as plain values."""
