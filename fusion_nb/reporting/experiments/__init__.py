"""Tables, pages and notebooks of experiments."""
