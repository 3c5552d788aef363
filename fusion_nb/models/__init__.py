"""Adapters: one module for each framework, imported when a model of that framework is met, and not
before.
"""
