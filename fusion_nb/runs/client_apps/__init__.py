"""Runs whose parties are apps of Flower: where the apps are found, and their options."""
