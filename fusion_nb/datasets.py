"""The data sets of the package, and the base class and decorator for data sets of one's own."""

from fusion_nb.data.handlers import DataHandler, dataset
from fusion_nb.data.image_datasets import Cifar10Keras, Digits, Mnist, MnistKeras, Npz
from fusion_nb.data.text_datasets import Documents, Newsgroups, Wikipedia

__all__ = [
    "Cifar10Keras",
    "DataHandler",
    "Digits",
    "Documents",
    "Mnist",
    "MnistKeras",
    "Newsgroups",
    "Npz",
    "Wikipedia",
    "dataset",
]
