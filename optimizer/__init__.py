"""Holds the CPU, memory and disk utilisation of a host at a target."""
