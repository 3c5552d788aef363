"""Comparing settings over seeds: runs of any origin, means, costs, paired tests, and findings."""
