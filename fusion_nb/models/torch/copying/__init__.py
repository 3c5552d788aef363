"""Copies of a user's module: what they keep, and what refers to them."""
