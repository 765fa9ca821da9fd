"""The recovery tool: an island of standard library only, for any Python from 3.7 on."""
