"""The nouns of a federation: requests to parties, their replies, and the record of a round.

All of them are frozen dataclasses, and none of them knows a framework. Arrays inside them are
shared: a receiver must not write to them.
"""

from fusion_nb.core.types.records import (
    Requirements,
    RoundRecord,
    ServerState,
)
from fusion_nb.core.types.replies import (
    Answer,
    Failure,
    MeanUpdate,
    Metrics,
    NoUpdate,
    PartyMetrics,
    Reply,
    Update,
    Weights,
    WeightsKind,
)
from fusion_nb.core.types.requests import (
    AdoptRequest,
    Ask,
    CollectRequest,
    EvaluateRequest,
    PrepareRequest,
    Request,
    RoundRequest,
    SendRequest,
    StepRequest,
)
from fusion_nb.core.types.training import (
    EvaluateTestFunction,
    FederationInfo,
    LocalContext,
    LocalUpdate,
    TrainFunction,
    TrainingResult,
    TrainingTask,
)

__all__ = [
    "AdoptRequest",
    "Answer",
    "Ask",
    "CollectRequest",
    "EvaluateRequest",
    "EvaluateTestFunction",
    "Failure",
    "FederationInfo",
    "LocalContext",
    "LocalUpdate",
    "MeanUpdate",
    "Metrics",
    "NoUpdate",
    "PartyMetrics",
    "PrepareRequest",
    "Reply",
    "Request",
    "Requirements",
    "RoundRecord",
    "RoundRequest",
    "SendRequest",
    "ServerState",
    "StepRequest",
    "TrainFunction",
    "TrainingResult",
    "TrainingTask",
    "Update",
    "Weights",
    "WeightsKind",
]
