"""Experiments: several runs of one question, which differ in seeds or in options."""
