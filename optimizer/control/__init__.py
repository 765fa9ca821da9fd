"""Pure decisions: frozen values in, frozen values out; no clock, no files, no processes."""
