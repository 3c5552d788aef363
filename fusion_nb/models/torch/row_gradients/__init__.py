"""Gradients of single rows: clipped and noisy in training, and matched by those who attack."""
