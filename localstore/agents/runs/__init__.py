"""One run of an agent, a team or a workflow, from the question to the stored answer."""
