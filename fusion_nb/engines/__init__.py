"""Engines: transports that carry requests to parties, with the same curve for the same seed."""
