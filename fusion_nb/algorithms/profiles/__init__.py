"""Simulated devices and lines by name, each with the source of its figures."""
