"""A panel for a federation: the second face of `RunSpec` and `Run`, and no training logic."""

from fusion_nb.notebook.panel.panel import Panel

__all__ = ["Panel"]
