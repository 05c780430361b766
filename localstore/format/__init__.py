"""Documents as bytes: pure functions between the bytes of a file and plain values, without any I/O."""
