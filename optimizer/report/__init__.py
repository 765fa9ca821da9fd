"""Read-only views of what the daemon has written; nothing in here changes anything."""
