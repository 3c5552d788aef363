"""Aggregation rules. A new one is a class with `init` and `fuse`, or a function under
`@fusion_nb.fusion`.
"""
