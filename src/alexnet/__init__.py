"""The whole of Krizhevsky, Sutskever and Hinton (2012), usable today.

The names below are imported on first use, so that `import alexnet` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.data.prepare import prepare as prepare
    from alexnet.evaluation.evaluate import evaluate as evaluate
    from alexnet.evaluation.predict import Predictor as Predictor
    from alexnet.model.network import AlexNet as AlexNet
    from alexnet.model.weights import load as load
    from alexnet.training.run import train as train

__version__ = "0.1.0"
__all__ = ["AlexNet", "Predictor", "evaluate", "load", "prepare", "train"]

_HOMES = {
    "AlexNet": "alexnet.model.network",
    "Predictor": "alexnet.evaluation.predict",
    "evaluate": "alexnet.evaluation.evaluate",
    "load": "alexnet.model.weights",
    "prepare": "alexnet.data.prepare",
    "train": "alexnet.training.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
