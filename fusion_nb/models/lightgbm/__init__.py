"""The adapter of LightGBM's models."""
