"""Federated learning in a notebook: `%load_ext fusion_nb`, then one `%%fusion` cell.

From Python the same is `fusion_nb.federate(model, data, parties=4, rounds=10)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusion_nb.version import __version__ as __version__

if TYPE_CHECKING:
    from fusion_nb.algorithms.compressions.base import compression
    from fusion_nb.algorithms.fusions.base import fusion
    from fusion_nb.algorithms.lr_schedules import lr_schedule
    from fusion_nb.algorithms.samplings import sampling
    from fusion_nb.data.splits import split
    from fusion_nb.data.tabular.new_rows import load_encoding
    from fusion_nb.engines import engine
    from fusion_nb.models.lookup import model_adapter
    from fusion_nb.models.metrics.own import metric
    from fusion_nb.notebook.panel import Panel
    from fusion_nb.runs.audit.audit import audit
    from fusion_nb.runs.callbacks.callback import Callback
    from fusion_nb.runs.experiments.calls import sweep
    from fusion_nb.runs.experiments.comparing.comparison import compare
    from fusion_nb.runs.experiments.experiment import Experiment
    from fusion_nb.runs.run import Run
    from fusion_nb.runs.session import federate, resume, stats
    from fusion_nb.runs.spec import RunSpec
    from fusion_nb.runs.trackers.option import tracker

__all__ = [
    "Callback",
    "Experiment",
    "Panel",
    "Run",
    "RunSpec",
    "audit",
    "compare",
    "compression",
    "engine",
    "federate",
    "fusion",
    "load_encoding",
    "load_ipython_extension",
    "lr_schedule",
    "metric",
    "model_adapter",
    "resume",
    "sampling",
    "split",
    "stats",
    "sweep",
    "tracker",
    "unload_ipython_extension",
]

#: Where each public name lives. Imported on first use (PEP 562), so that `%load_ext fusion_nb`
#: stays quick.
_EXPORTS = {
    "Callback": "fusion_nb.runs.callbacks.callback",
    "Experiment": "fusion_nb.runs.experiments.experiment",
    "compare": "fusion_nb.runs.experiments.comparing.comparison",
    "sweep": "fusion_nb.runs.experiments.calls",
    "Panel": "fusion_nb.notebook.panel",
    "Run": "fusion_nb.runs.run",
    "RunSpec": "fusion_nb.runs.spec",
    "compression": "fusion_nb.algorithms.compressions.base",
    "audit": "fusion_nb.runs.audit.audit",
    "engine": "fusion_nb.engines",
    "federate": "fusion_nb.runs.session",
    "resume": "fusion_nb.runs.session",
    "stats": "fusion_nb.runs.session",
    "tracker": "fusion_nb.runs.trackers.option",
    "fusion": "fusion_nb.algorithms.fusions.base",
    "metric": "fusion_nb.models.metrics.own",
    "lr_schedule": "fusion_nb.algorithms.lr_schedules",
    "model_adapter": "fusion_nb.models.lookup",
    "sampling": "fusion_nb.algorithms.samplings",
    "split": "fusion_nb.data.splits",
    "load_encoding": "fusion_nb.data.tabular.new_rows",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'fusion_nb' has no attribute {name!r}")
    import importlib
    import sys

    if "IPython" in sys.modules:  # threads of a run print into the cell that began it
        from fusion_nb.notebook import kernel

        kernel.install()
    value = globals()[name] = getattr(importlib.import_module(_EXPORTS[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


def load_ipython_extension(ip: Any) -> None:
    """Register `%fusion` and `%%fusion`, and complete their options."""
    from fusion_nb.notebook.magics import load

    load(ip)


def unload_ipython_extension(ip: Any) -> None:
    """Take the magics and their completion away again."""
    from fusion_nb.notebook.magics import unload

    unload(ip)
