"""What is sent to a model: instructions, history, question, and the schema of a typed answer."""
