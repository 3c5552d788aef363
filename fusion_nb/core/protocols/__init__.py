"""The contracts of a fusion, a model, an engine, a baseline, a sampling, ...: one file each.

Each is read in one screen, has defaults for what is optional, and shows a complete toy. A fusion,
an engine or a model that misses an abstract method can't be made.
"""

from fusion_nb.core.protocols.agreement import NeedsAgreement
from fusion_nb.core.protocols.attack import DataPoisoning, ModelPoisoning
from fusion_nb.core.protocols.baseline import Baseline
from fusion_nb.core.protocols.batch_trainable import BatchTrainable, StackAdvice
from fusion_nb.core.protocols.change import Change
from fusion_nb.core.protocols.compression import Compression
from fusion_nb.core.protocols.engine import Engine, EngineWrapper
from fusion_nb.core.protocols.federation_view import FederationView, PostTraining
from fusion_nb.core.protocols.fusion import (
    Arrival,
    AskStep,
    Asynchronous,
    Exchanging,
    Fusion,
    Synchronising,
)
from fusion_nb.core.protocols.metric import Metric, MetricTask, Sums
from fusion_nb.core.protocols.model import Model, TrainableModel
from fusion_nb.core.protocols.open_round import OpenRound
from fusion_nb.core.protocols.party import PartyLike
from fusion_nb.core.protocols.sampling import Sampling, SamplingContext
from fusion_nb.core.protocols.skew import Place, Skew
from fusion_nb.core.protocols.split import Split
from fusion_nb.core.protocols.tracker import StoredRun, TrackedEnd, TrackedRun, Tracker

__all__ = [
    "Arrival",
    "AskStep",
    "Asynchronous",
    "Baseline",
    "BatchTrainable",
    "Change",
    "Compression",
    "DataPoisoning",
    "Engine",
    "EngineWrapper",
    "Exchanging",
    "FederationView",
    "Fusion",
    "Metric",
    "MetricTask",
    "Model",
    "ModelPoisoning",
    "NeedsAgreement",
    "OpenRound",
    "PartyLike",
    "Place",
    "PostTraining",
    "Sampling",
    "SamplingContext",
    "Skew",
    "Split",
    "StackAdvice",
    "StoredRun",
    "Sums",
    "Synchronising",
    "TrackedEnd",
    "TrackedRun",
    "Tracker",
    "TrainableModel",
]
