"""Where each thing lives that the package brings: kind -> name -> module and attribute, imported on first use."""

from __future__ import annotations

BUILTIN: dict[str, dict[str, str]] = {
    "fusions": {
        "cmfl": "fusion_nb.fusions.lazy:CMFL",
        "doc2vec": "fusion_nb.fusions.summed:Doc2VecFusion",
        "dynamic": "fusion_nb.fusions.dynamic:Dynamic",
        "fda": "fusion_nb.fusions.dynamic:FDA",
        "fedavg": "fusion_nb.fusions.averaging:fedavg",
        "fedadagrad": "fusion_nb.fusions.adaptive:FedAdagrad",
        "fedadam": "fusion_nb.fusions.adaptive:FedAdam",
        "fedavgm": "fusion_nb.fusions.adaptive:FedAvgM",
        "feddyn": "fusion_nb.fusions.local:FedDyn",
        "fednova": "fusion_nb.fusions.local:FedNova",
        "fedprox": "fusion_nb.fusions.local:FedProx",
        "fedyogi": "fusion_nb.fusions.adaptive:FedYogi",
        "iter_avg": "fusion_nb.fusions.averaging:iter_avg",
        "lag": "fusion_nb.fusions.lazy:LAG",
        "qfedavg": "fusion_nb.fusions.fair:QFedAvg",
        "scaffold": "fusion_nb.fusions.local:Scaffold",
    },
    "splits": {
        "iid": "fusion_nb.splits:iid",
        "dirichlet": "fusion_nb.splits:dirichlet",
        "shards": "fusion_nb.splits:shards",
        "quantity": "fusion_nb.splits:quantity",
        "by_key": "fusion_nb.splits:by_key",
    },
    "datasets": {
        "20_newsgroup": "fusion_nb.datasets.corpora:Newsgroups",
        "cifar10_keras": "fusion_nb.datasets:Cifar10Keras",
        "digits": "fusion_nb.datasets:Digits",
        "mnist": "fusion_nb.datasets:Mnist",
        "mnist_keras": "fusion_nb.datasets:MnistKeras",
        "mnist_pytorch": "fusion_nb.datasets:Mnist",
        "npz": "fusion_nb.datasets:Npz",
        "wikipedia": "fusion_nb.datasets.corpora:Wikipedia",
    },
    "models": {
        "doc2vec": "fusion_nb.models.doc2vec:Doc2VecModel",
        "keras": "fusion_nb.models.keras:KerasModel",
        "torch": "fusion_nb.models.torch:TorchModel",
    },
    "engines": {"local": "fusion_nb.engines.local:LocalEngine"},
    "adversaries": {},
    "personal": {
        "apfl": "fusion_nb.fusions.personal:APFL",
        "ditto": "fusion_nb.fusions.personal:Ditto",
        "fedbn": "fusion_nb.fusions.layers:FedBN",
        "fedper": "fusion_nb.fusions.layers:FedPer",
        "finetune": "fusion_nb.personal:Finetune",
        "ifca": "fusion_nb.fusions.personal:IFCA",
    },
    "sharing": {"best": "fusion_nb.sharing:Best"},
    "ensembles": {
        "distill": "fusion_nb.ensemble:Distill",
        "mean": "fusion_nb.ensemble:Mean",
        "stack": "fusion_nb.ensemble:Stack",
        "vote": "fusion_nb.ensemble:Vote",
    },
}
