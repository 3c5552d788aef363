"""Trainers of an experiment's runs, and how they share the runs among them."""
