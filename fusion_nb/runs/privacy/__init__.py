"""Differential privacy as an option of a run: its rule, its checks, its further rounds."""
