"""Connections of the server: their number, their time limits, and checks before any key."""
