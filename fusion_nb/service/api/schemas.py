"""The JSON of requests and answers, as the OpenAPI document describes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from fusion_nb.service.model_types import MODEL_FILES

#: Any JSON object.
Record = dict[str, Any]
_STATES = "registering, queued, training, finished, stopped, failed or interrupted"


class AggregatorId(BaseModel):
    """The aggregator that a call is about."""

    aggregator_id: str = Field(description="the id that /start-aggregator returned", max_length=200)


class Health(BaseModel):
    """The server is up."""

    status: str = Field(description="ok")
    version: str = Field(description="of fusion_nb")


class Message(BaseModel):
    """A step that was done."""

    aggregator_id: str = Field(
        description="names the aggregator in all further calls; it can't be guessed"
    )
    message: str = Field(description="what was done, and what comes next")


class Registered(Message):
    """A party that has registered."""

    party: str = Field(description="the party's name")
    remaining: int = Field(description="number of parties that have not registered yet")
    node: str = Field(
        "", description="of a party that keeps its rows: its name for this program in /messages"
    )


class Progress(Message):
    """The state of a run."""

    state: str = Field(description=_STATES)
    round: int = Field(description="number of whole rounds")


class Trained(Progress):
    """The result of a run."""

    reason: str = Field(description="why the run ended before its last round, or empty")
    global_model: Record = Field(
        description="name -> nested lists: `{k: torch.tensor(v) for k, v in ...}` loads it"
    )
    history: list[Record] = Field(
        description="one record for each round, as GET /rounds returns them"
    )


class Summary(BaseModel):
    """An aggregator in a list."""

    aggregator_id: str
    state: str = Field(description=_STATES)
    model_type: str = Field(description=", ".join(MODEL_FILES))
    num_parties: int = Field(description="number of parties that the aggregator is for")
    remaining: int = Field(description="number of parties that have not registered yet")
    round: int = Field(description="number of whole rounds")
    created: float = Field(description="seconds since 1970")


class Status(Summary):
    """The state of an aggregator and its run."""

    has_ended: bool = Field(
        description="whether /stop ended the federation and deleted its parties' data"
    )
    reason: str = Field(description="why the run ended before its last round, or empty")
    error: str = Field(description="the error of a run that failed, or empty")
    hint: str = Field(description="what to do about the error")
    rounds: int | None = Field(
        description="number of rounds that the run will have; null for the default until it trains"
    )
    resumed_after: int = Field(
        description="of a run that was cut short and goes on: the last round that it had; else 0"
    )
    metrics: Record = Field(
        description="of the last round: loss, accuracy (a share of 1), mse, train_loss, ..."
    )
    notes: list[str] = Field(description="what was inferred from model and data, and warnings")
    shown: list[str] = Field(description="the two metrics of a chart")
    monitor: str = Field(description="the metric that decides which round is best")
    options: Record = Field(description="of the run, by their names in RunSpec")
    parties: list[Record] = Field(
        description="of each: party, handler, num_examples (training rows; of a party that keeps "
        "its rows, all), keeps_rows"
    )
    ahead: int | None = Field(
        None, description="of a queued run: number of runs that train before it"
    )


class Aggregators(BaseModel):
    """The aggregators of a client."""

    aggregators: list[Summary]
