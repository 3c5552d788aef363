"""Messages between a run and parties that keep their rows: files that the server carries."""
