"""The peers of the network: what people have today, in torch's own modules."""

from torch import Tensor, nn


def stock_translation(num_classes: int = 1000) -> nn.Module:
    """The paper's layers from torch's own modules: grouped convolutions, nn.LocalResponseNorm.

    It takes (N, 3, 224, 224) float images that are normalised already. Normalisation crosses the
    columns and dropout rescales, because that is what the stock modules do.
    """

    def normalised_pool() -> list[nn.Module]:
        return [
            nn.ReLU(),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
            nn.MaxPool2d(3, 2),
        ]

    layers: list[nn.Module] = [
        nn.ZeroPad2d((0, 3, 0, 3)),
        nn.Conv2d(3, 96, 11, 4),
        *normalised_pool(),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        *normalised_pool(),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU()),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
        nn.Linear(4096, num_classes),
    ]
    return nn.Sequential(*layers)


def one_tower(num_classes: int = 1000) -> nn.Module:
    """The net of 2014 that other libraries call AlexNet: one column, no normalisation.

    It takes (N, 3, 224, 224) float images that are normalised already.
    """
    layers: list[nn.Module] = [
        *(nn.Conv2d(3, 64, 11, 4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Flatten(), nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(inplace=True)),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True)),
        nn.Linear(4096, num_classes),
    ]
    return nn.Sequential(*layers)


class OnBytes(nn.Module):
    """A network for normalised images, fed with bytes as ours is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 224, 224) uint8 to logits."""
        logits: Tensor = self.network(normalized(images))
        return logits


def normalized(images: Tensor) -> Tensor:
    """Bytes brought to about mean 0 and variance 1, float32."""
    return (images.float() - 118.0) / 60.0
