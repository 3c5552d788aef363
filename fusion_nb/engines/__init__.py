"""Engines: transports that carry requests to parties, with the same curve for the same seed."""

from fusion_nb.core import registry

engine = registry.decorator("engines")
engine.__doc__ = """Register a class derived from `Engine`, by its own name or by `name=`.

>>> from fusion_nb.core.protocols import EngineWrapper
>>> from fusion_nb.engines.local import LocalEngine
>>> @engine(name="counting")
... class Counting(EngineWrapper):
...     def __init__(self):
...         super().__init__(LocalEngine())
...         self.count = 0
...     def run(self, request, cohort):
...         self.count += 1
...         return super().run(request, cohort)
>>> registry.create("engines", "counting").count
0
"""
