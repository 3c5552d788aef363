"""Flower: its apps as parties of a run, and its SuperLink and SuperNodes as an engine."""
