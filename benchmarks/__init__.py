"""Measurements that the README quotes, each run by a command that prints what it measured."""
