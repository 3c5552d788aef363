"""Differential privacy around an aggregation rule, and the ledger that counts it."""
