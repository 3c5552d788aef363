"""Rows of data sets of the user's own."""
