"""The built-in components: kind -> name -> module and attribute, imported on first use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Framework:
    """A framework of models: its adapter, and how its models are known without importing it.

    adapter:    module and attribute of the adapter
    base_class: `module.Class` that all its models derive from
    suffixes:   the endings of files that hold a whole model, the usual one first
    has_own_generator: it draws first weights from a random generator of its own, and not from
                Python's or numpy's
    other_classes: further classes of its models, that don't derive from `base_class`
    settings:   the module of its settings that hold for a process (`found` and `take`), or ""
    """

    adapter: str
    base_class: str
    suffixes: tuple[str, ...]
    has_own_generator: bool = False
    other_classes: tuple[str, ...] = ()
    settings: str = ""

    @property
    def package(self) -> str:
        """The package that the framework is imported as."""
        return self.base_class.partition(".")[0]


_MODELS = "fusion_nb.models"
#: Name -> framework. This line registers one; its base class and suffixes are those of its adapter.
FRAMEWORKS: dict[str, Framework] = {
    "doc2vec": Framework(
        f"{_MODELS}.doc2vec.adapter:Doc2VecModel",
        "gensim.models.doc2vec.Doc2Vec",
        (".doc2vec", ".d2v"),
    ),
    "keras": Framework(
        f"{_MODELS}.keras.adapter:KerasModel",
        "keras.src.models.model.Model",
        (".keras",),
        settings=f"{_MODELS}.process_settings.of_keras",
    ),
    "lightgbm": Framework(
        f"{_MODELS}.lightgbm.adapter:LightGBMModel",
        "lightgbm.sklearn.LGBMModel",
        (".txt",),
        other_classes=("lightgbm.basic.Booster",),
    ),
    "sklearn": Framework(
        f"{_MODELS}.sklearn.adapter:SklearnModel",
        "sklearn.base.BaseEstimator",
        (".skops",),
        settings=f"{_MODELS}.process_settings.of_sklearn",
    ),
    "torch": Framework(
        f"{_MODELS}.torch.adapter:TorchModel",
        "torch.nn.modules.module.Module",
        (".pt", ".pth"),
        has_own_generator=True,
        settings=f"{_MODELS}.process_settings.of_torch",
    ),
    "xgboost": Framework(
        f"{_MODELS}.xgboost.adapter:XGBoostModel",
        "xgboost.sklearn.XGBModel",
        (".json", ".ubj"),
        other_classes=("xgboost.core.Booster",),
    ),
}

_DEVICES, _NETWORKS = (f"fusion_nb.algorithms.profiles.{kind}" for kind in ("devices", "networks"))
#: Kind -> name -> the package of an extra that a component can't do without, where it is not that
#: of its model. Names whose package is not installed are not offered.
PACKAGES: dict[str, dict[str, str]] = {"engines": {"flower": "flwr", "ray": "ray"}}

BUILTIN: dict[str, dict[str, str]] = {
    "fusions": {
        "bagging": "fusion_nb.algorithms.fusions.bagging:Bagging",
        "bucketing": "fusion_nb.algorithms.fusions.bucketing:Bucketing",
        "bulyan": "fusion_nb.algorithms.fusions.bulyan:Bulyan",
        "centered_clip": "fusion_nb.algorithms.fusions.centered_clip:CenteredClip",
        "cmfl": "fusion_nb.algorithms.fusions.cmfl:CMFL",
        "doc2vec": "fusion_nb.algorithms.fusions.doc2vec_sum:Doc2VecFusion",
        "cyclic": "fusion_nb.algorithms.fusions.cyclic:Cyclic",
        "dynamic": "fusion_nb.algorithms.fusions.dynamic_averaging:Dynamic",
        "fda": "fusion_nb.algorithms.fusions.fda:FDA",
        "fedasync": "fusion_nb.algorithms.fusions.fedasync:FedAsync",
        "fedavg": "fusion_nb.algorithms.fusions.averaging:fedavg",
        "fedadagrad": "fusion_nb.algorithms.fusions.fedopt:FedAdagrad",
        "fedadam": "fusion_nb.algorithms.fusions.fedopt:FedAdam",
        "fedavgm": "fusion_nb.algorithms.fusions.fedopt:FedAvgM",
        "fedbuff": "fusion_nb.algorithms.fusions.fedbuff:FedBuff",
        "feddyn": "fusion_nb.algorithms.fusions.feddyn:FedDyn",
        "fednova": "fusion_nb.algorithms.fusions.fednova:FedNova",
        "fedprox": "fusion_nb.algorithms.fusions.fedprox:FedProx",
        "fedyogi": "fusion_nb.algorithms.fusions.fedopt:FedYogi",
        "geometric_median": "fusion_nb.algorithms.fusions.geometric_median:GeometricMedian",
        "iter_avg": "fusion_nb.algorithms.fusions.averaging:iter_avg",
        "krum": "fusion_nb.algorithms.fusions.krum:Krum",
        "lag": "fusion_nb.algorithms.fusions.lag:LAG",
        "median": "fusion_nb.algorithms.fusions.median:Median",
        "multikrum": "fusion_nb.algorithms.fusions.multikrum:MultiKrum",
        "qfedavg": "fusion_nb.algorithms.fusions.qfedavg:QFedAvg",
        "scaffold": "fusion_nb.algorithms.fusions.scaffold:Scaffold",
        "sum": "fusion_nb.algorithms.fusions.sum:Sum",
        "trimmed_mean": "fusion_nb.algorithms.fusions.trimmed_mean:TrimmedMean",
    },
    "splits": {
        "iid": "fusion_nb.data.splits:iid",
        "dirichlet": "fusion_nb.data.splits:dirichlet",
        "shards": "fusion_nb.data.splits:shards",
        "quantity": "fusion_nb.data.splits:quantity",
        "by_key": "fusion_nb.data.splits:by_key",
        "classes": "fusion_nb.data.skews.classes:classes",
        "inner_dirichlet": "fusion_nb.data.skews.inner_dirichlet:inner_dirichlet",
        "domains": "fusion_nb.data.skews.domains:Domains",
        "drift": "fusion_nb.data.skews.label_drift:LabelDrift",
        "feature_noise": "fusion_nb.data.skews.feature_noise:FeatureNoise",
        "long_tail": "fusion_nb.data.skews.long_tail:LongTail",
        "rotation": "fusion_nb.data.skews.rotation:Rotation",
    },
    "lr_schedules": {
        "constant": "fusion_nb.algorithms.lr_schedules:constant",
        "cosine": "fusion_nb.algorithms.lr_schedules:cosine",
        "exponential": "fusion_nb.algorithms.lr_schedules:exponential",
        "linear": "fusion_nb.algorithms.lr_schedules:linear",
        "step": "fusion_nb.algorithms.lr_schedules:step",
        "warmup": "fusion_nb.algorithms.lr_schedules:warmup",
    },
    "samplings": {
        "loss": "fusion_nb.algorithms.samplings:loss",
        "named": "fusion_nb.algorithms.samplings:named",
        "oort": "fusion_nb.algorithms.timed_samplings:oort",
        "poisson": "fusion_nb.algorithms.samplings:poisson",
        "tiers": "fusion_nb.algorithms.timed_samplings:tiers",
        "uniform": "fusion_nb.algorithms.samplings:uniform",
    },
    "devices": {
        "classes": f"{_DEVICES}:Classes",
        "half_normal": f"{_DEVICES}:HalfNormal",
        "lognormal": f"{_DEVICES}:LogNormal",
        "pareto": f"{_DEVICES}:Pareto",
        "phones": f"{_DEVICES}:Phones",
        "same": f"{_DEVICES}:Same",
        "trace": "fusion_nb.algorithms.profiles.traces:Trace",
    },
    "networks": {
        "3g": f"{_NETWORKS}:Mobile3G",
        "4g": f"{_NETWORKS}:Mobile4G",
        "5g": f"{_NETWORKS}:Mobile5G",
        "home": f"{_NETWORKS}:Home",
        "own": f"{_NETWORKS}:Own",
        "satellite": f"{_NETWORKS}:Satellite",
        "starlink": f"{_NETWORKS}:Starlink",
    },
    "datasets": {
        "20_newsgroup": "fusion_nb.data.text_datasets:Newsgroups",
        "cifar10_keras": "fusion_nb.data.image_datasets:Cifar10Keras",
        "digits": "fusion_nb.data.image_datasets:Digits",
        "documents": "fusion_nb.data.text_datasets:Documents",
        "mnist": "fusion_nb.data.image_datasets:Mnist",
        "mnist_keras": "fusion_nb.data.image_datasets:MnistKeras",
        "mnist_pytorch": "fusion_nb.data.image_datasets:Mnist",
        "npz": "fusion_nb.data.image_datasets:Npz",
        "wikipedia": "fusion_nb.data.text_datasets:Wikipedia",
    },
    "tabular": {"auto": "fusion_nb.data.tabular.auto:Auto"},
    "models": {name: framework.adapter for name, framework in FRAMEWORKS.items()},
    "metrics": {
        "accuracy": f"{_MODELS}.metrics.classes:Accuracy",
        "auc": f"{_MODELS}.metrics.ranking:AUC",
        "average_precision": f"{_MODELS}.metrics.ranking:AveragePrecision",
        "balanced_accuracy": f"{_MODELS}.metrics.classes:BalancedAccuracy",
        "brier": f"{_MODELS}.metrics.probabilities:Brier",
        "f1": f"{_MODELS}.metrics.classes:F1",
        "log_loss": f"{_MODELS}.metrics.probabilities:LogLoss",
        "mae": f"{_MODELS}.metrics.numbers:MAE",
        "mse": f"{_MODELS}.metrics.numbers:MSE",
        "perplexity": f"{_MODELS}.metrics.probabilities:Perplexity",
        "precision": f"{_MODELS}.metrics.classes:Precision",
        "r2": f"{_MODELS}.metrics.numbers:R2",
        "recall": f"{_MODELS}.metrics.classes:Recall",
        "rmse": f"{_MODELS}.metrics.numbers:RMSE",
        "top_k": f"{_MODELS}.metrics.classes:TopK",
    },
    "engines": {
        "auto": "fusion_nb.engines.auto:AutoEngine",
        "flower": "fusion_nb.engines.flower.engine:FlowerEngine",
        "local": "fusion_nb.engines.local:LocalEngine",
        "process": "fusion_nb.engines.process:ProcessEngine",
        "ray": "fusion_nb.engines.ray:RayEngine",
        "vectorized": "fusion_nb.engines.vectorized:VectorizedEngine",
    },
    "adversaries": {
        "alie": "fusion_nb.algorithms.attacks.alie:ALIE",
        "bit_flip": "fusion_nb.algorithms.attacks.bit_flip:BitFlip",
        "ipm": "fusion_nb.algorithms.attacks.ipm:IPM",
        "label_flip": "fusion_nb.algorithms.attacks.label_flip:LabelFlip",
        "mimic": "fusion_nb.algorithms.attacks.mimic:Mimic",
        "noise": "fusion_nb.algorithms.attacks.noise:Noise",
        "sign_flip": "fusion_nb.algorithms.attacks.sign_flip:SignFlip",
    },
    "compressions": {
        "fp16": "fusion_nb.algorithms.compressions.fp16:FP16",
        "int4": "fusion_nb.algorithms.compressions.int4:Int4",
        "int8": "fusion_nb.algorithms.compressions.int8:Int8",
        "lowrank": "fusion_nb.algorithms.compressions.lowrank:LowRank",
        "qsgd": "fusion_nb.algorithms.compressions.qsgd:QSGD",
        "randk": "fusion_nb.algorithms.compressions.randk:RandK",
        "sign": "fusion_nb.algorithms.compressions.sign:Sign",
        "stc": "fusion_nb.algorithms.compressions.stc:STC",
        "topk": "fusion_nb.algorithms.compressions.topk:TopK",
    },
    "privacy": {
        "central": "fusion_nb.algorithms.privacy.central:CentralPrivacy",
        "local": "fusion_nb.algorithms.privacy.local:LocalPrivacy",
        "rows": "fusion_nb.algorithms.privacy.rows:RowPrivacy",
    },
    "personal": {
        "apfl": "fusion_nb.algorithms.personalization.apfl:APFL",
        "ditto": "fusion_nb.algorithms.personalization.ditto:Ditto",
        "fedbn": "fusion_nb.algorithms.personalization.fedbn:FedBN",
        "fedper": "fusion_nb.algorithms.personalization.fedper:FedPer",
        "finetune": "fusion_nb.algorithms.personalization.finetune:Finetune",
        "ifca": "fusion_nb.algorithms.personalization.ifca:IFCA",
    },
    "secure": {"masks": "fusion_nb.algorithms.secure.masks:Masks"},
    "sharing": {"best": "fusion_nb.algorithms.personalization.best_of_group:BestOfGroup"},
    "trackers": {
        "mlflow": "fusion_nb.runs.trackers.mlflow:MLflow",
        "tensorboard": "fusion_nb.runs.trackers.tensorboard:TensorBoard",
        "trackio": "fusion_nb.runs.trackers.trackio:Trackio",
        "wandb": "fusion_nb.runs.trackers.wandb:WandB",
    },
    "ensembles": {
        "distill": "fusion_nb.algorithms.ensembles.methods:Distill",
        "mean": "fusion_nb.algorithms.ensembles.methods:Mean",
        "stack": "fusion_nb.algorithms.ensembles.methods:Stack",
        "vote": "fusion_nb.algorithms.ensembles.methods:Vote",
    },
}
