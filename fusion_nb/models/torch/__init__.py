"""PyTorch models: `adapter` is what the loop talks to."""
