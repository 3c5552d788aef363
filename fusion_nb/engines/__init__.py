"""Transports: each carries the same verbs to parties, and gives the same curve for the same
seed.
"""
