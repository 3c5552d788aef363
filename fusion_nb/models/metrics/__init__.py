"""The metrics that a run may add to those of its model: one file for each kind of them."""
