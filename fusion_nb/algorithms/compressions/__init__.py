"""Compressions: encodings of the weights that travel, one file each."""
