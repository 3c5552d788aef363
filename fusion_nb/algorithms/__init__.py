"""Federated learning algorithms: fusions, personal models, ensembles, attacks, baselines."""
