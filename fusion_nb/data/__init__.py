"""Rows: where they come from, what form they have, and how parties divide them."""
