"""Language models: the interface that agents call, and its implementations."""
