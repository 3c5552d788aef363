"""Sums behind masks: right with every drop-out, refused below the threshold, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")

from protocol import Round, sealed_for

from fusion_nb.algorithms.secure import keys, shamir, steps
from fusion_nb.algorithms.secure.quantised import means, moved, quantised
from fusion_nb.errors import PartyError


def close(found: Any, expected: Any) -> bool:
    return all(np.allclose(found[name], expected[name], atol=2e-6) for name in expected)


class TestDropOuts:
    @pytest.mark.parametrize("step", ["advertise", "share", "masked", "reveal"])
    @pytest.mark.parametrize("gone", [(), ("party 1",), ("party 5",), ("party 2", "party 4")])
    @pytest.mark.parametrize("weighted", [True, False])
    def test_the_sum_is_that_of_those_who_sent(
        self, step: str, gone: tuple[str, ...], weighted: bool
    ) -> None:
        left = 5 - len(gone) if step == "advertise" else 5
        made = Round(5, threshold=left // 2 + 1, weighted=weighted)
        mean, sent = made.mean({step: gone})
        assert len(sent) == (5 if step == "reveal" else 5 - len(gone))
        assert close(mean, made.plain_mean(sent))

    def test_at_every_step_at_once(self) -> None:
        made = Round(9, threshold=5)
        lost = {
            "advertise": ["party 2"],
            "share": ["party 9"],
            "masked": ["party 1", "party 5"],
            "reveal": [],
        }
        mean, sent = made.mean(lost)
        assert sent == ["party 3", "party 4", "party 6", "party 7", "party 8"]
        assert close(mean, made.plain_mean(sent))

    def test_too_few_shares_give_no_sum(self) -> None:
        made = Round(5, threshold=3)
        with pytest.raises(PartyError, match="2 shares of a secret of party 2"):
            made.mean({"masked": ["party 1"], "reveal": ["party 2", "party 3"]})

    def test_a_party_refuses_a_sum_of_too_few(self) -> None:
        made = Round(5, threshold=4)
        made.advertise()
        shares = made.share(["party 1", "party 2"])
        with pytest.raises(PartyError, match="shares of 3 parties, of which 4 are due"):
            made.masked(shares)


class TestAnAggregatorThatCheats:
    def test_no_step_is_done_twice(self) -> None:
        made = Round(4, threshold=3)
        made.advertise()
        shares = made.share()
        with pytest.raises(PartyError, match="this step after 'share'"):
            made.share()
        masked = made.masked(shares)
        with pytest.raises(PartyError, match="after 'send_masked'"):
            made.masked({p: shares[p] for p in list(shares)[:3]})
        made.reveal(masked, [])
        with pytest.raises(PartyError, match="after 'reveal'"):
            made.reveal(masked, [])

    def test_a_second_cohort_in_a_round_is_refused(self) -> None:
        made = Round(5, threshold=3)
        made.advertise()
        shares = made.share()
        made.masked(shares)
        fewer = {p: made.told["peers"][p] for p in made.parties[:4]}
        with pytest.raises(PartyError):
            made.ask(steps.share, dict.fromkeys(fewer, made.told | {"peers": fewer}))

    def test_one_party_may_not_be_both_sent_and_lost(self) -> None:
        made = Round(4, threshold=3)
        made.advertise()
        masked = made.masked(made.share())
        with pytest.raises(PartyError, match="not that of the masks"):
            made.reveal(masked, ["party 1"])

    @pytest.mark.parametrize("left_out", ["party 1", "party 4"])
    def test_a_party_may_not_be_left_out_of_the_list(self, left_out: str) -> None:
        made = Round(4, threshold=3)
        made.advertise()
        masked = made.masked(made.share())
        masked.pop(left_out)
        with pytest.raises(PartyError, match="not that of the masks"):
            made.reveal(masked, [])

    @pytest.mark.parametrize("count", [4, 5, 6])
    def test_two_stories_do_not_unmask_anybody(self, count: int) -> None:
        """Some are told that party 1 has sent, and the others that it dropped out."""
        made = Round(count, threshold=count // 2 + 1)
        made.advertise()
        masked = made.masked(made.share())
        others = made.parties[1:]
        told_sent, told_lost = others[: count // 2], others[count // 2 :]
        sent = {"sent": dict.fromkeys(made.parties, 1), "lost": {}}
        lost = {"sent": dict.fromkeys(others, 1), "lost": {"party 1": 1}}
        first = made.ask(steps.reveal, dict.fromkeys(told_sent, sent))
        second = made.ask(steps.reveal, dict.fromkeys(told_lost, lost))
        seeds = [answer for answer in first.values() if "party 1" in answer["seeds"]]
        private = [answer for answer in second.values() if "party 1" in answer["keys"]]
        assert min(len(seeds), len(private)) < made.threshold
        assert len(masked) == count

    @pytest.mark.parametrize("other", [{"most_rows": 10**9}, {"limits": np.ones(2)}, {"bits": 21}])
    def test_parties_that_are_told_different_things_reveal_nothing(
        self, other: dict[str, Any]
    ) -> None:
        """The aggregator tells all but party 1 to scale their changes to nothing, say."""
        made = Round(4, threshold=3)
        made.advertise()
        given = {p: made.told if p == "party 1" else made.told | other for p in made.parties}
        shares = made.ask(steps.share, given)
        masked = made.masked(shares)
        with pytest.raises(ValueError, match="changed"):
            made.reveal(masked, [])

    @pytest.mark.parametrize("threshold", [1, 2, 5])
    def test_a_threshold_of_half_or_more_than_all_is_refused(self, threshold: int) -> None:
        made = Round(4, threshold=threshold)
        made.advertise()
        with pytest.raises(PartyError, match="of 4 parties"):
            made.share()

    def test_another_key_in_its_name_is_refused(self) -> None:
        made = Round(4, threshold=3)
        made.advertise()
        forged = made.told["peers"]["party 2"]["mask_key"]
        made.told["peers"]["party 1"] = {**made.told["peers"]["party 1"], "mask_key": forged}
        made.told["cohort"] = steps.as_array(steps.digest_of(made.told["peers"]))
        with pytest.raises(PartyError, match="not its own"):
            made.share()

    def test_a_share_that_was_changed_is_found(self) -> None:
        made = Round(4, threshold=3)
        made.advertise()
        shares = made.share()
        bad = shares["party 2"]["sealed"]["party 1"].copy()
        bad[20] ^= 1
        shares["party 2"]["sealed"]["party 1"] = bad
        masked = made.masked(shares)
        with pytest.raises(ValueError, match="changed"):
            made.reveal(masked, [])

    def test_the_share_of_one_is_not_taken_for_that_of_another(self) -> None:
        made = Round(4, threshold=3)
        made.advertise()
        shares = made.share()
        sealed = shares["party 2"]["sealed"]
        sealed["party 1"], sealed["party 3"] = sealed["party 3"], sealed["party 1"]
        masked = made.masked(shares)
        with pytest.raises(ValueError, match="changed"):
            made.reveal(masked, [])


class TestMasks:
    def test_a_masked_row_says_nothing_of_the_change(self) -> None:
        made = Round(4, threshold=3)
        big = {"w": np.random.default_rng(0).standard_normal((300, 100)), "b": np.zeros(4)}
        made.changes["party 2"] = big
        for party in made.parties:
            made.changes.setdefault(party, big)
        made.changes = dict.fromkeys(made.parties, big)
        made.advertise()
        row = made.masked(made.share())["party 2"]["masked"]
        plain = quantised(big, made.told["limits"], 0.5, 22)
        signed, true = row.astype(np.int32).astype(float), plain.astype(np.int32).astype(float)
        assert abs(np.corrcoef(signed, true)[0, 1]) < 0.03
        counts = np.bincount(row.view(np.uint8), minlength=256)
        expected = row.nbytes / 256
        chi = float(((counts - expected) ** 2 / expected).sum())
        assert chi < 255 + 6 * np.sqrt(2 * 255), "every byte is equally likely"

    def test_masks_are_new_in_every_round(self) -> None:
        rows = []
        for _ in range(2):
            made = Round(3, threshold=2)
            made.advertise()
            rows.append(made.masked(made.share())["party 1"]["masked"])
        assert (rows[0] == rows[1]).mean() < 0.2

    def test_a_party_forgets_its_secrets(self) -> None:
        made = Round(3, threshold=2)
        made.mean()
        assert all(kept == {steps.KEPT: {"step": "reveal"}} for kept in made.kept.values())

    def test_the_mask_is_the_key_stream_of_aes(self) -> None:
        # NIST SP 800-38A, F.5.5, with a counter that begins at 0: the first block is AES(0).
        key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        block = Cipher(algorithms.AES256(key), modes.ECB()).encryptor().update(bytes(16))
        assert keys.mask(key, 4).tobytes() == block


class TestShamir:
    @pytest.mark.parametrize(("count", "threshold"), [(3, 2), (5, 3), (10, 7), (40, 21), (1, 1)])
    def test_any_so_many_shares_give_the_secret(self, count: int, threshold: int) -> None:
        rng = np.random.default_rng(count)
        secret = bytes(32 - count % 3) + bytes(range(count % 3))
        shares = shamir.split(secret, range(1, count + 1), threshold)
        for _ in range(5):
            some = rng.choice(np.arange(1, count + 1), threshold, replace=False).tolist()
            assert shamir.combine({place: shares[place] for place in some}, 32) == secret

    def test_fewer_shares_fit_any_secret(self) -> None:
        """Two of three shares of one secret are as likely as shares of another one."""
        found = {1: [], 2: []}
        for secret in (bytes(32), b"\xff" * 32):
            shares = [shamir.split(secret, range(1, 4), 3)[1][10] for _ in range(400)]
            found[1 if secret[0] else 2] = shares
        assert abs(np.mean(found[1]) - np.mean(found[2])) < 25

    def test_too_few_shares_give_no_secret(self) -> None:
        shares = shamir.split(b"k" * 32, range(1, 6), 3)
        with pytest.raises(ValueError, match="no secret"):
            shamir.combine({1: shares[1], 2: shares[2]}, 32)

    def test_the_field_is_that_of_a_prime(self) -> None:
        # Lucas and Lehmer: 2^p - 1 is prime exactly if s becomes 0 after p - 2 squarings.
        s = 4
        for _ in range(519):
            s = (s * s - 2) % shamir.PRIME
        assert s == 0


class TestNumbers:
    @pytest.mark.parametrize("count", [1, 3, 1024])
    def test_the_largest_sum_fits(self, count: int) -> None:
        top = {"w": np.array([1.0, -1.0, 0.5])}
        total = np.zeros(3, np.uint32)
        for _ in range(count):
            total = total + quantised(top, [1.0], 1.0, 22)
        found = means(total, {"w": (3,)}, [1.0], float(count), 22)
        assert found["w"] == pytest.approx([1.0, -1.0, 0.5], abs=1e-6)

    def test_all_kinds_of_entries(self) -> None:
        weights = {
            "f": np.zeros(2, np.float32),
            "i": np.array(7, np.int64),
            "b": np.array([True, False]),
            "none": np.zeros(0),
        }
        change = {
            "f": np.array([0.5, -0.25]),
            "i": np.array(3.0),
            "b": np.array([-1.0, 1.0]),
            "none": np.zeros(0),
        }
        limits = [0.5, 3.0, 1.0, 0.0]
        row = quantised(change, limits, 1.0, 22)
        shapes = {name: array.shape for name, array in weights.items()}
        found = moved(weights, means(row, shapes, limits, 1.0, 22))
        assert found["i"] == 10
        assert found["b"].tolist() == [False, True]
        assert found["f"] == pytest.approx([0.5, -0.25], abs=1e-6)
        assert {n: a.dtype for n, a in found.items()} == {n: a.dtype for n, a in weights.items()}


def test_what_each_party_is_given_is_sealed_for_it() -> None:
    made = Round(3, threshold=2)
    made.advertise()
    given = sealed_for(made.share())
    assert all(set(given[p]["sealed"]) == set(made.parties) for p in made.parties)
