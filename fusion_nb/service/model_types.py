"""Types of models as requests name them, and the files in which models are sent."""

from __future__ import annotations

#: Framework -> its `model_type`, where the two differ.
_ORIGINAL = {"torch": "pytorch"}

#: model_type -> name of the file in which its model is stored.
MODEL_FILES = {"pytorch": "model.pt", "keras": "model.keras", "doc2vec": "model.doc2vec"}
#: model_type -> the format of a whole model.
WHOLE = {"pytorch": "whole", "keras": "keras", "doc2vec": "gensim"}
#: model_type -> formats of its weights.
FORMATS = {
    "pytorch": ("json", "npz", "safetensors", "pt"),
    "keras": ("json", "npz", "keras"),
    "doc2vec": ("json", "npz", "gensim"),
}
#: model_type -> how a client saves a model.
SAVE_HINTS = {
    "pytorch": "send torch.save(model, path), of torch.nn's own classes (nn.Sequential, say)",
    "keras": "send model.save('model.keras'), of Keras's own layers",
    "doc2vec": "send the file that a gensim Doc2Vec's save(path, separately=[]) wrote",
}


def model_type_of(framework: str) -> str:
    """Return the `model_type` of a framework's models, or "" where the service has none."""
    name = _ORIGINAL.get(framework, framework)
    return name if name in MODEL_FILES else ""
