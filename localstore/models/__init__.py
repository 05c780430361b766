"""What sessions are made of: the classes that callers use, and the schema of a document."""
