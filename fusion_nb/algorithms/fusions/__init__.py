"""Aggregation rules, one file each.

A new rule is a class derived from `fusion_nb.core.protocols.Fusion`, or a function under
`@fusion_nb.fusion`.
"""
