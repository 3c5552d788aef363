"""Parties that hold their own rows in programs of their own, over any transport of messages."""
