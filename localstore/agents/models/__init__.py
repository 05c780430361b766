"""Language models: the protocol that agents call, and its implementations."""
