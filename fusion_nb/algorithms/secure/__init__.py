"""Secure aggregation: the aggregator receives the sum of the parties' updates, and no update."""
