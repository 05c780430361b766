"""Find, read and change the document of one session under its lock."""
