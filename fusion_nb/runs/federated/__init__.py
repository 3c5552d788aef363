"""Runs over a running federation of Flower, whose parties hold their rows on other machines."""
