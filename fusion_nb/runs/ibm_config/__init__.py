"""Configuration files of IBM's federated-learning-lib, read as the options of a run."""
