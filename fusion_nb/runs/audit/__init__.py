"""Audits: what the updates and the model of a run give away about its parties' rows, measured."""
