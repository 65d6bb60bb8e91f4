"""The whole of Krizhevsky, Sutskever and Hinton (2012), usable today.

The names below are imported on first use, so that `import alexnet` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.data.prepare import prepare as prepare
    from alexnet.errors import InterruptedRunError as InterruptedRunError
    from alexnet.errors import UserError as UserError
    from alexnet.evaluation.evaluate import Evaluation as Evaluation
    from alexnet.evaluation.evaluate import evaluate as evaluate
    from alexnet.evaluation.predict import Prediction as Prediction
    from alexnet.evaluation.predict import Predictor as Predictor
    from alexnet.model.network import AlexNet as AlexNet
    from alexnet.model.weights import load as load
    from alexnet.training.run import resume as resume
    from alexnet.training.run import train as train

__version__ = "0.1.0"
__all__ = [
    "AlexNet",
    "Evaluation",
    "InterruptedRunError",
    "Prediction",
    "Predictor",
    "UserError",
    "evaluate",
    "load",
    "prepare",
    "resume",
    "train",
]

_HOMES = {
    "AlexNet": "alexnet.model.network",
    "Evaluation": "alexnet.evaluation.evaluate",
    "InterruptedRunError": "alexnet.errors",
    "Prediction": "alexnet.evaluation.predict",
    "Predictor": "alexnet.evaluation.predict",
    "UserError": "alexnet.errors",
    "evaluate": "alexnet.evaluation.evaluate",
    "load": "alexnet.model.weights",
    "prepare": "alexnet.data.prepare",
    "resume": "alexnet.training.run",
    "train": "alexnet.training.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
