"""The rules about what goes together in a run: all of them in one ordered list."""
