"""Adapters of model frameworks: one folder for each, imported when one of its models is met."""
