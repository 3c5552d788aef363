"""The trial of a module on a few rows before training."""
