"""The steps of a party in one round of secure aggregation.

Each returns what the party sends. Between steps the party keeps its keys, its numbers and what it
has received, as secrets of the round; after the last step nothing of that is left. A party refuses
a step that is asked for twice, or that does not follow from what it was told before.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion_nb.algorithms.secure import shamir
from fusion_nb.algorithms.secure.keys import KEY_BYTES, Agreements, KeyPair, mask, seal, unseal
from fusion_nb.algorithms.secure.quantised import largest, quantised
from fusion_nb.core.types import Weights
from fusion_nb.errors import PartyError

#: The name of a party's secrets of a round; the least number of parties in a sum.
KEPT, LEAST = "secure", 3


def advertise(
    kept: dict[str, Any],
    numbers: Weights,
    round: int,
    num_examples: int,
    *,
    limited: bool = False,
) -> Mapping[str, Any]:
    """Keep the numbers, and send two public keys and the largest size in each entry.

    limited: a norm limits the numbers, so that no largest size is sent, and rounding is inwards
    """
    began = time.perf_counter()
    cipher, masks = KeyPair.new(), KeyPair.new()
    kept[KEPT] = {
        "step": "advertise",
        "round": round,
        "numbers": numbers,
        "num_examples": num_examples,
        "limited": limited,
        "cipher_key": as_array(cipher.private),
        "mask_key": as_array(masks.private),
    }
    told = {
        "cipher_key": as_array(cipher.public),
        "mask_key": as_array(masks.public),
        **({} if limited else {"largest": largest(numbers)}),
    }
    return {**told, "seconds": time.perf_counter() - began}


def share(party: str, kept: dict[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send a share of the party's secrets to each other party, sealed for it.

    given: the public keys of its peers (all parties, or itself and its neighbours), how many of
    them must stay, the number and a digest of all parties, the limits of entries, the largest
    number of rows (0 where all parties count alike), and the bits of a number
    """
    began = time.perf_counter()
    own = _own(party, kept, "advertise")
    peers, threshold = given["peers"], int(given["threshold"])
    if len(peers) < LEAST or not len(peers) / 2 < threshold <= len(peers):
        raise _refused(party, f"{threshold} of {len(peers)} parties")
    if len(peers) == int(given["count"]) and digest_of(peers) != as_bytes(given["cohort"]):
        raise _refused(party, "a digest of other parties")
    private = KeyPair.of(as_bytes(own["mask_key"]))
    cipher = KeyPair.of(as_bytes(own["cipher_key"]))
    told = peers.get(party, {})
    is_own = told and (as_bytes(told["mask_key"]), as_bytes(told["cipher_key"])) == (
        private.public,
        cipher.public,
    )
    if not is_own:
        raise _refused(party, "public keys in its name that are not its own")
    transcript = transcript_of(own["round"], given)
    seed, places = secrets.token_bytes(KEY_BYTES), range(1, len(peers) + 1)
    of_seed = shamir.split(seed, places, threshold)
    of_key = shamir.split(private.private, places, threshold)
    sealed, agreements = {}, Agreements(cipher.private, b"shares" + transcript)
    seals = {}
    for place, (peer, keys) in enumerate(peers.items(), 1):
        key = agreements.with_peer(as_bytes(keys["cipher_key"]))
        seals[peer] = as_array(key)
        about = f"{party}\0{peer}".encode()
        sealed[peer] = as_array(seal(key, of_seed[place] + of_key[place], about))
    kept[KEPT] = {
        **own,
        "step": "share",
        "seed": as_array(seed),
        "seals": seals,
        "peers": {peer: dict(keys) for peer, keys in peers.items()},
        "threshold": threshold,
        "transcript": as_array(transcript),
        "limits": np.asarray(given["limits"], np.float64),
        "most_rows": int(given["most_rows"]),
        "bits": int(given["bits"]),
    }
    return {"sealed": sealed, "seconds": time.perf_counter() - began}


def send_masked(party: str, kept: dict[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send the change in whole numbers, with a mask of the party's own and one for each peer.

    given: the sealed shares of the parties that take part, the party's own among them
    """
    began = time.perf_counter()
    own = _own(party, kept, "share")
    sealed, peers = given["sealed"], own["peers"]
    if not set(sealed) <= set(peers) or party not in sealed or len(sealed) < own["threshold"]:
        raise _refused(
            party, f"shares of {len(sealed)} parties, of which {own['threshold']} are due"
        )
    most, count = own["most_rows"], own["num_examples"]
    if most and count > most:
        raise _refused(party, f"{most} as the largest number of rows, and it has {count}")
    share, inwards = count / most if most else 1.0, bool(own["limited"])
    row = quantised(own["numbers"], own["limits"], share, own["bits"], inwards=inwards)
    row = row + mask(as_bytes(own["seed"]), len(row))
    agreements = Agreements(as_bytes(own["mask_key"]), b"masks" + as_bytes(own["transcript"]))
    for peer in sealed:
        if peer == party:
            continue
        key = agreements.with_peer(as_bytes(peers[peer]["mask_key"]))
        # Of each pair one adds the mask that the other subtracts.
        other = mask(key, len(row))
        row = row + other if party < peer else row - other
    rest = {name: value for name, value in own.items() if name not in ("numbers", "seed")}
    kept[KEPT] = {**rest, "step": "send_masked", "sealed": dict(sealed), "num_sent": len(row)}
    return {"masked": row, "seconds": time.perf_counter() - began}


def reveal(party: str, kept: dict[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send shares of the own masks of those who sent, and of the keys of those who dropped out.

    Never both of one party: they would unmask its update. Then forget everything.
    given: the parties that sent, and those that did not
    """
    began = time.perf_counter()
    own = _own(party, kept, "send_masked")
    sent, lost, sealed = set(given["sent"]), set(given["lost"]), own["sealed"]
    if sent & lost or sent | lost != set(sealed) or party not in sent:
        raise _refused(party, "a list of parties that is not that of the masks")
    if len(sent) < own["threshold"]:
        raise _refused(
            party, f"the sum of {len(sent)} parties, of which {own['threshold']} are due"
        )
    found: dict[str, dict[str, Any]] = {"seeds": {}, "keys": {}}
    for peer, message in sealed.items():
        shares = unseal(
            as_bytes(own["seals"][peer]), as_bytes(message), f"{peer}\0{party}".encode()
        )
        if peer in sent:
            found["seeds"][peer] = as_array(shares[: shamir.SHARE_BYTES])
        else:
            found["keys"][peer] = as_array(shares[shamir.SHARE_BYTES :])
    kept[KEPT] = {"step": "reveal"}
    return {**found, "seconds": time.perf_counter() - began}


def forget(party: str, kept: dict[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Forget all secrets of a round that has ended without this party."""
    kept.clear()
    return {}


#: The steps that an aggregator may ask a party for by their names.
PARTY_STEPS = (share, send_masked, reveal, forget)


def digest_of(peers: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a digest of the names and public keys of parties."""
    digest = hashlib.sha256()
    for peer, keys in peers.items():
        digest.update(f"{len(peer)}\0{peer}\0".encode(errors="surrogatepass"))
        digest.update(as_bytes(keys["cipher_key"]) + as_bytes(keys["mask_key"]))
    return digest.digest()


def transcript_of(round: int, given: Mapping[str, Any]) -> bytes:
    """Return a digest of all that the parties of a round must have been told alike.

    It is part of every key: parties that were told different things have masks that do not cancel.
    """
    digest = hashlib.sha256(f"{round}\0{given['threshold']}\0{given['bits']}".encode())
    digest.update(f"\0{int(given['most_rows'])}\0{int(given['count'])}\0".encode())
    digest.update(np.asarray(given["limits"], np.float64).tobytes())
    digest.update(as_bytes(given["cohort"]))
    return digest.digest()


def threshold_of(share: float, count: int) -> int:
    """Return how many of `count` parties must stay: a share of them, and more than half.

    >>> threshold_of(0.7, 10), threshold_of(0.1, 10)
    (7, 6)
    """
    return min(count, max(math.ceil(share * count - 1e-9), count // 2 + 1))


def as_array(data: bytes) -> np.ndarray:
    """Return bytes as an array, as which they travel and are saved."""
    return np.frombuffer(data, np.uint8)


def as_bytes(array: np.ndarray) -> bytes:
    """Return the bytes of an array."""
    return np.asarray(array, np.uint8).tobytes()


def _own(party: str, kept: Mapping[str, Any], step: str) -> dict[str, Any]:
    """Return what a party kept of the step before. Raises PartyError at any other step."""
    own: dict[str, Any] = kept.get(KEPT, {})
    if own.get("step") != step:
        raise _refused(party, f"this step after {own.get('step', 'nothing')!r}")
    return own


def _refused(party: str, what: str) -> PartyError:
    return PartyError(
        f"secure aggregation: {party} was given {what}, and answers no more in this round",
        "an aggregator that keeps to the protocol asks nothing of the kind",
    )
