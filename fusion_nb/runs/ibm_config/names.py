"""Names of IBM's federated-learning-lib, and of what stands for each of them here."""

from __future__ import annotations

#: Fusion handler, without `FusionHandler` -> fusion, which may take options of the configuration.
FUSIONS = {
    "IterAvg": "iter_avg",
    "FedAvg": "fedavg",
    "CoordinateMedian": "median",
    "Krum": "krum",
    "Doc2Vec": "doc2vec",
    "XGB": "bagging",
    "NaiveBayes": "sum",
    "CryptoIterAvg": "iter_avg",
}
#: Sentences about some of them.
FUSION_NOTES = {
    "CryptoIterAvg": "weights are averaged, and not encrypted: they never leave this machine",
    "XGB": "trees are bagged, where its parties send histograms",
}
#: Fusion handler without a counterpart -> what to use.
NO_FUSION = {
    "Gradient": "fedavg with local_steps: 1, which averages one step of each party",
    "Zeno": "krum, multikrum or centered_clip",
    "ComparativeElimination": "bulyan or trimmed_mean",
    "PFNM": "fedavg, or the ensembles mean and distill",
    "SPAHM": "fedavg, or the ensembles mean and distill",
    "FedPlus": "personal: ditto, or fusion: fedprox",
    "AdaptiveFedAvg": "geometric_median, centered_clip or bucketing",
    "AdaptiveFederatedAveraging": "geometric_median, centered_clip or bucketing",
    "ID3": "an XGBoost or LightGBM model with bagging",
    "RLAvg": "nothing: reinforcement learning is not here",
}
#: The classes of models whose definitions are files that are read here.
MODELS = ("PytorchFLModel", "KerasFLModel", "TensorFlowFLModel", "Doc2VecFLModel", "XGBFLModel")
#: Endings of definitions -> how they become a file that is read here.
NO_MODEL_FILES = {
    ".h5": "in Keras: keras.models.load_model(path).save('model.keras'), and name that file",
    ".hdf5": "in Keras: keras.models.load_model(path).save('model.keras'), and name that file",
    ".pickle": "a pickle runs code when it is read: build the model in a cell",
    ".pkl": "a pickle runs code when it is read: build the model in a cell",
    ".model": "a pickle runs code when it is read: build the Doc2Vec in a cell",
    "": "a TensorFlow SavedModel is not read: save the Keras model as model.keras",
}
#: Data handler -> the label's column in its .csv files, "" for the last one.
CSV_HANDLERS = {
    **dict.fromkeys(
        (
            *("AdultSklearnDataHandler", "AdultDTDataHandler", "AdultPRDataHandler"),
            *("CompasSklearnDataHandler", "CompasPRDataHandler", "GermanSklearnDataHandler"),
        ),
        "class",
    ),
    **dict.fromkeys(
        (
            *("NurseryDataHandler", "HiggsDataHandler", "AirlineDataHandler"),
            *("DiabetesDataHandler", "BinovfDataHandler", "MultovfDataHandler"),
            *("MultovfKerasDataHandler", "LinovfDataHandler", "IonosphereDataHandler"),
            "OpenMLDataHandler",
        ),
        "",
    ),
}
#: Data handlers of `.npz` files with x_train, y_train, x_test and y_test.
NPZ_HANDLERS = (
    *("MnistKerasDataHandler", "MnistTFDataHandler", "MnistDPKerasDataHandler"),
    *("MnistKerasDataGenerator", "MnistPytorchDataHandler", "MnistSklearnDataHandler"),
    *("Cifar10PytorchDataHandler", "Cifar10KerasDataHandler", "Cifar10TFDataHandler"),
    *("Cifar10DPKerasDataHandler", "FemnistKerasDataHandler", "FemnistDPKerasDataHandler"),
)
#: Data handler without a counterpart -> what to use.
NO_HANDLER = {
    "WikipediaDoc2VecDataHandler": "data: wikipedia, or documents in a variable",
    "FederatedClusteringDataHandler": "an .npz file without pickles, with x_train",
    "CartpoleEnvDataHandler": "nothing: reinforcement learning is not here",
    "PendulumEnvDataHandler": "nothing: reinforcement learning is not here",
}
#: Part of a file -> why it is not needed here, or what stands for it; "" where it decides nothing.
PARTS = {
    "connection": "",
    "protocol_handler": "",
    "aggregator": "",
    "local_training": "",
    "metrics_recorder": "its metrics file is written on request: fusion-nb run --metrics-folder",
    "privacy": "metrics stay in this kernel",
    "preprocess": "encode a table with tabular: auto, or prepare the rows in a cell",
    "metrics": "name metrics by the option metrics, such as auc,f1",
    "evidencia": "the card of an export tells how a model came to be",
}
