"""The index: facts about each session that are available without opening its document. It can always be rebuilt."""
