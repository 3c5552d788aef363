"""Federated learning algorithms, one file each: fusions, personal models, ensembles, attacks,
baselines.
"""
