"""Simulated time: how long devices train, how long lines take, and who is late."""
