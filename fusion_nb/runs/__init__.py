"""A run: from its spec to its end."""
