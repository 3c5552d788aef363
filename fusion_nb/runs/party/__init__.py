"""The party's side of a running federation: its program, what it allows, and its log."""
