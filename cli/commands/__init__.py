"""The commands, one module each: its `command` is loaded when the command is called."""
