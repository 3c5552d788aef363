"""Ensembles of the parties' models, and one model distilled from them."""
