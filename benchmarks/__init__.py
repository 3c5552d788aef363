"""Measurements, each run by a command that prints its figures; see README.md in this folder."""
