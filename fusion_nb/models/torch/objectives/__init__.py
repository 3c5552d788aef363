"""The loss that a module is trained with, the labels that it takes, and what it measures."""
