"""The rooms that touch the world: each implements one port, and none imports another."""
