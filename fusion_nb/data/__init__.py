"""Data: recognised, loaded, and partitioned among parties."""
