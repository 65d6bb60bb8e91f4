"""Full-size networks are made once: a second each, and 240 MB."""

import pytest

from alexnet.model.network import AlexNet


@pytest.fixture(scope="session")
def paper_network() -> AlexNet:
    """The default network at full size, in evaluation mode. Tests must not change it."""
    return AlexNet("paper", seed=0).eval()


@pytest.fixture(scope="session")
def literal_network() -> AlexNet:
    """The variant `paper-literal` at full size, in evaluation mode. Tests must not change it."""
    return AlexNet("paper-literal", seed=0).eval()
