"""The commands: arguments only, one file for each group, heavy imports inside the command."""
