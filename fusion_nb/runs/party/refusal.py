"""The answer to a request that the owner of a party does not allow."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that the owner does not allow; the text is sent to the aggregator."""
