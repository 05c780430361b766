"""What the agent shows a person and takes from one: the only place in the library that prints."""
