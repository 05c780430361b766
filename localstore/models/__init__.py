"""The classes of a session and its parts, and the shape of a document."""
