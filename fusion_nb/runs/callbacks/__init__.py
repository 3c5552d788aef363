"""Callbacks: one protocol of what is called while a run trains."""
