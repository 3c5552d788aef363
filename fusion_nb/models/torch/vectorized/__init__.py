"""Several parties' modules trained as one batched tensor program; see `training`."""
