"""Ensembles of the parties' models, and what is distilled from them."""
