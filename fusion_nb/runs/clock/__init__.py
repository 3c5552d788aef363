"""Simulated time as options of a run: building the clock, measuring a batch, checks, preview."""
