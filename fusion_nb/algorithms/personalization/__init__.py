"""Methods that leave each party with a model of its own."""
