"""Trackers: MLflow, TensorBoard, Weights & Biases, trackio, and those of other packages."""
