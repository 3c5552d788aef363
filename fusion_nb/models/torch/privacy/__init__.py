"""Training that protects single rows, and the attack that shows what an update tells of them."""
