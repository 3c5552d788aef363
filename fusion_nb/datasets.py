"""The data sets that the package brings, under the name by which `--data-handler` knows them."""

from fusion_nb.data.image_datasets import Cifar10Keras, Digits, Mnist, MnistKeras, Npz
from fusion_nb.data.text_datasets import Documents, Newsgroups, Wikipedia

__all__ = [
    "Cifar10Keras",
    "Digits",
    "Documents",
    "Mnist",
    "MnistKeras",
    "Newsgroups",
    "Npz",
    "Wikipedia",
]
