"""The learning rate and the cohort of each round."""
