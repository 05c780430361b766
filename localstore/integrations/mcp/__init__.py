"""A server for AI clients that speak the Model Context Protocol: they search and read the sessions of a store."""
