"""Federated Doc2Vec beside a central one and each party alone: `python -m benchmarks.text [lee]
[news]`.

lee:  the Lee news corpus (300 background and 50 rated documents) over 5 parties, 40 rounds of one
      epoch, 50 dimensions
news: 20 newsgroups over 5 parties, IID and split by topic (4 groups each), 20 rounds of one epoch,
100 dimensions Data from `$FUSION_NB_DATA`: lee_background.cor, lee.cor, 20newsgroups.jsonl.gz.
`--quick` runs a small version.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models.doc2vec import Doc2Vec
from gensim.test.utils import datapath
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from fusion_nb import Run, federate
from fusion_nb.core.documents import Document, words_of
from fusion_nb.data.text_datasets import Newsgroups
from fusion_nb.models.doc2vec.training import Trainer, unit

#: Rules of fusion that are compared.
RULES = {
    "added": "doc2vec",
    "added, no limit": "doc2vec:limit=0",
    "averaged": "doc2vec:eta=1,limit=0",
}
Rows = list[tuple[list[Document], list[Any] | None]]


def own_vectors(run: Run) -> np.ndarray:
    """Return the vectors that all parties have of their documents, in party order."""
    return np.concatenate([party.state["vectors"] for party in run.federation.parties])


def inferred(run: Run, documents: Any) -> np.ndarray:
    """Return the vectors that the fused model infers."""
    return Trainer(run.model).infer_all(list(documents))


def self_rank(run: Run) -> float:
    """Return the share of documents whose own vector is the nearest of all parties' to the one
    inferred for them.
    """
    documents = [document for party in run.federation.parties for document in party.train[0]]
    return float(
        (
            (unit(inferred(run, documents)) @ unit(own_vectors(run)).T).argmax(1)
            == np.arange(len(documents))
        ).mean()
    )


def lee(folder: Path, quick: bool) -> None:
    """Print self-rank, correlation with human ratings, and loss on documents left out, for dm=0 and
    dm=1.
    """
    texts = [
        words_of(line)
        for name in ("lee_background.cor", "lee.cor")
        for line in (folder / name).read_text(encoding="latin-1").splitlines()
    ]
    documents = [Document(words, (str(number),)) for number, words in enumerate(texts)]
    ratings = _ratings()
    rounds, seeds = (2, 1) if quick else (40, 3)
    print(
        f"lee: {len(documents)} documents, 5 parties, {rounds} rounds of one epoch, means of "
        f"{seeds} seeds"
    )
    print("  dm  rule              self-rank  correlation  loss on 50 documents left out")
    for dm in (0, 1):
        for rule, parties in [("central", 1), *((rule, 5) for rule in RULES), ("alone", 5)]:
            found = []
            for seed in range(seeds):
                made = lambda dm=dm, seed=seed: Doc2Vec(  # noqa: E731
                    vector_size=50, min_count=2, epochs=40, dm=dm, seed=seed + 1
                )
                options = {"rounds": rounds, "holdout": 0.0, "evaluate_every": rounds, "seed": seed}
                if rule == "alone":
                    parts = [documents[start::5] for start in range(5)]
                    runs = [federate(made(), part, parties=1, **options) for part in parts]
                    left = [
                        federate(made(), (part, documents[300:]), parties=1, **options)
                        for part in _without_rated(parts)
                    ]
                else:
                    fusion = RULES.get(rule, "doc2vec")
                    runs = [federate(made(), documents, parties=parties, fusion=fusion, **options)]
                    pair = (documents[:300], documents[300:])
                    left = [federate(made(), pair, parties=parties, fusion=fusion, **options)]
                found.append(
                    (
                        np.mean([self_rank(run) for run in runs]),
                        np.mean(
                            [_correlation(inferred(run, documents[300:]), ratings) for run in runs]
                        ),
                        np.mean([run.history["loss"][-1] for run in left]),
                    )
                )
            rank, correlation, loss = np.mean(found, axis=0)
            print(
                f"  {dm}   {rule:<16}  {rank:.3f}      {correlation:.3f}        {loss:.3f}",
                flush=True,
            )


def _without_rated(parts: list[list[Document]]) -> list[list[Document]]:
    return [[document for document in part if int(document.tags[0]) < 300] for part in parts]


def _ratings() -> np.ndarray:
    """Return how alike people find each two of the 50 documents, from 0 to 1; comes with gensim's
    test data.
    """
    path = Path(datapath("similarities0-1.txt"))
    return np.loadtxt(path) if path.is_file() else np.full((50, 50), np.nan)


def _correlation(vectors: np.ndarray, ratings: np.ndarray) -> float:
    pairs = np.triu_indices(50, 1)
    return float(np.corrcoef((unit(vectors) @ unit(vectors).T)[pairs], ratings[pairs])[0, 1])


def news(folder: Path, quick: bool) -> None:
    """Print the accuracy of a linear classifier on the inferred vectors of the test messages."""
    (texts, labels), (test, test_labels) = Newsgroups(
        str(folder / "20newsgroups.jsonl.gz")
    ).get_data()
    step, rounds, size = (40, 2, 20) if quick else (1, 20, 100)
    train = [Document(words_of(text), (str(number),)) for number, text in enumerate(texts)][::step]
    held = [Document(words_of(text), (f"test {number}",)) for number, text in enumerate(test)][
        ::step
    ]
    labels, test_labels = labels[::step], test_labels[::step]
    groups = sorted(set(labels))
    topic = np.array([groups.index(label) // 4 for label in labels])
    parts = {
        "IID": np.array_split(np.random.default_rng(0).permutation(len(train)), 5),
        "by topic": [np.flatnonzero(topic == number) for number in range(5)],
    }
    print(
        f"news: {len(train)} and {len(held)} messages, 5 parties, {rounds} rounds of one epoch, "
        f"dm=0, {size} dimensions"
    )
    print("  split     rule              trained on the parties' vectors  on inferred vectors")

    def measured(pieces: list[np.ndarray], fusion: str) -> np.ndarray:
        given = {
            f"party {number + 1}": [train[i] for i in piece] for number, piece in enumerate(pieces)
        }
        run = federate(
            Doc2Vec(vector_size=size, min_count=5, dm=0, epochs=20),
            given,
            **{"rounds": rounds, "holdout": 0.0, "evaluate_every": rounds, "fusion": fusion},
        )
        order = np.concatenate(pieces)
        y, tested = [labels[i] for i in order], inferred(run, held)
        accuracies = []
        for vectors in (own_vectors(run), inferred(run, [train[i] for i in order])):
            scaler = StandardScaler().fit(vectors)
            classifier = LogisticRegression(C=0.1, max_iter=300).fit(scaler.transform(vectors), y)
            accuracies.append(classifier.score(scaler.transform(tested), test_labels))
        return np.array(accuracies)

    def tell(split: str, rule: str, accuracies: np.ndarray) -> None:
        print(
            f"  {split:<8}  {rule:<16}  {accuracies[0]:.3f}                            "
            f"{accuracies[1]:.3f}",
            flush=True,
        )

    tell("-", "central", measured([np.arange(len(train))], "doc2vec"))
    for split, pieces in parts.items():
        for rule, fusion in RULES.items():
            tell(split, rule, measured(pieces, fusion))
        tell(
            split,
            "alone (mean)",
            np.mean([measured([piece], "doc2vec") for piece in pieces], axis=0),
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the cases that are named, or both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases = {"lee": lee, "news": news}
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(cases))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    folder = Path(os.environ.get("FUSION_NB_DATA", ""))
    for name in given.cases or cases:
        cases[name](folder, given.quick)


if __name__ == "__main__":
    main()
