"""The devices that PyTorch models are trained on, and the rows that stay there."""
