"""Gathers the facts for `optimizer doctor`; changes nothing, and needs no running daemon."""
