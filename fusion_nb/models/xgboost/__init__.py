"""The adapter of XGBoost's models."""
