"""Data: recognised, loaded, and partitioned among parties."""

from fusion_nb.core.rows import stored_labels

__all__ = ["stored_labels"]
