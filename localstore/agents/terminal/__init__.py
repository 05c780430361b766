"""Interactive chat and printed answers: the only place in the library that prints or reads a keyboard."""
