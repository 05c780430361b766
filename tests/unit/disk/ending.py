"""The bytes of a short file that ends like a document."""

CLOSING = b"\n  ]\n}\n"
OLD = b"head, entries" + CLOSING
