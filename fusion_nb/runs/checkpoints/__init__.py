"""Checkpoints: a run on disk after every whole round, and the same run taken up from there."""
