"""Named runs. A recipe is a function from facts about the data to a configuration.

Its docstring is its lab note: the command, the hardware, the time and the result. What the user
sets always wins over what a recipe chooses. Free of torch.
"""

from collections.abc import Callable
from dataclasses import replace

from alexnet.config import (
    AugmentConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    change,
)
from alexnet.defaults import DataFacts, choices, longest_warmup
from alexnet.errors import UserError
from alexnet.suggest import unknown


def default(facts: DataFacts) -> Config:
    """The paper's training, brought to the size of the data; `choices` says why.

    Command: alexnet train PICTURES
    """
    config = Config(recipe="default")
    # 2012 (D12): one rate, for 1.2 million images.
    for choice in choices(facts):
        config = change(config, choice.key, choice.value)
    return config


def finetune(facts: DataFacts) -> Config:
    """A trained network on new classes: a tenth of the rate, and the new head at the full one.

    The lower layers know edges and textures already; a rate that is right for new weights would
    make them forget (Girshick et al. 2014, section 2.3, fine-tune this network at a tenth).

    Command: alexnet train PICTURES --init RUN
    """
    chosen = default(facts)
    epochs = max(5, round(chosen.train.epochs / 2))
    warmup = min(chosen.schedule.warmup_epochs, longest_warmup(facts.epochs or epochs))
    return replace(
        chosen,
        recipe="finetune",
        optimizer=replace(
            chosen.optimizer, lr=chosen.optimizer.lr / 10, layer_rates=(("fc8", 1, 10.0),)
        ),
        schedule=replace(chosen.schedule, warmup_epochs=warmup),
        train=replace(chosen.train, epochs=epochs),
    )


def digits(facts: DataFacts) -> Config:
    """The demonstration: the full network on 1,797 handwritten digits, in minutes on two cores.

    As `default`, but shorter, and without augmentation: strokes reach the edge of the picture, a
    mirrored 3 is no 3, and there is no colour.

    Command: alexnet train digits --recipe digits
    """
    chosen = default(facts)
    return replace(
        chosen,
        recipe="digits",
        augment=AugmentConfig(crop="center", mirror=False, color="none"),
        schedule=replace(chosen.schedule, warmup_epochs=1.0),
        train=replace(chosen.train, epochs=8),
    )


def paper(facts: DataFacts) -> Config:
    """Sections 4 and 5 as published, for ImageNet.

    Batches of 128, momentum 0.9, weight decay 0.0005, rate 0.01 divided by 10 whenever the
    validation error stops improving, three times; about 90 epochs; ten views at the end.

    Command: alexnet train ILSVRC --recipe paper
    The paper: five to six days on two GTX 580; 37.5 % / 17.0 % on ILSVRC-2010.
    """
    return Config(
        recipe="paper",
        model=ModelConfig(variant="paper"),
        augment=AugmentConfig(crop="random", mirror=facts.mirror, color="paper"),
        optimizer=OptimizerConfig(kind="2012", lr=0.01, momentum=0.9, weight_decay=0.0005),
        schedule=ScheduleConfig(kind="plateau", factor=0.1, patience=3, drops=3),
        train=TrainConfig(epochs=120, batch_size=128),
        evaluation=EvaluationConfig(views=10),
    )


def original(facts: DataFacts) -> Config:
    """What the authors ran: net 145 with the schedule of its run notes (layer-params-145-2010.cfg).

    The rate drops at epochs 23, 51 and 78 of 93; biases learn at twice the rate and stop at a
    tenth of it; conv1 slows down at epoch 68, when the colour noise ends, and freezes at 72.

    Command: alexnet train ILSVRC --recipe original
    The authors' log: 37.47 % / 17.00 % on ILSVRC-2010, ten views.
    """
    return Config(
        recipe="original",
        model=ModelConfig(variant="original"),
        augment=AugmentConfig(
            crop="random", mirror=facts.mirror, color="original", color_epochs=67
        ),
        optimizer=OptimizerConfig(
            kind="2012",
            lr=0.01,
            bias_lr_factor=2.0,
            bias_lr_floor=0.1,
            layer_rates=(("conv1", 68, 0.1), ("conv1", 72, 0.0)),
        ),
        schedule=ScheduleConfig(kind="steps", factor=0.1, milestones=(23, 51, 78)),
        train=TrainConfig(epochs=93, batch_size=128),
        evaluation=EvaluationConfig(views=10),
    )


def caffe(facts: DataFacts) -> Config:
    """bvlc_alexnet: batches of 256, the rate divided by 10 every 100,000 of 450,000 steps.

    Command: alexnet train ILSVRC2012 --recipe caffe
    The model zoo: 57.1 % / 80.2 % accuracy on ILSVRC-2012, centre crop.
    """
    return Config(
        recipe="caffe",
        model=ModelConfig(variant="caffe"),
        augment=AugmentConfig(crop="random", mirror=facts.mirror, color="none"),
        optimizer=OptimizerConfig(kind="2012", lr=0.01, bias_lr_factor=2.0),
        schedule=ScheduleConfig(kind="steps", factor=0.1, milestones=(21, 41, 61, 81)),
        train=TrainConfig(epochs=90, batch_size=256),
    )


def batch_8k(facts: DataFacts) -> Config:
    """Batches of 8,192 with LARS, as in the records: 100 epochs in 15,600 steps.

    Rate 10, polynomial decay of power 2, no warm-up (NVIDIA/caffe, models/bvlc_alexnet, with the
    formula of intel/caffe). 512 images pass through a device at once, so that one device can run
    it too; with more devices each takes fewer passes.

    Command: alexnet train ILSVRC2012 --recipe batch-8k --devices 8
    Published: 11 minutes on 1,024 CPUs (You et al. 2017). Not run here: no ImageNet.
    """
    return _large_batch("batch-8k", facts, batch_size=8192, lr=10.0, warmup_epochs=0.0)


def batch_16k(facts: DataFacts) -> Config:
    """Batches of 16,384 with LARS: 100 epochs in 7,800 steps, rate 16, no warm-up.

    Source and command as for batch-8k. Not run here: no ImageNet.
    """
    return _large_batch("batch-16k", facts, batch_size=16_384, lr=16.0, warmup_epochs=0.0)


def batch_32k(facts: DataFacts) -> Config:
    """Batches of 32,768 with LARS: 100 epochs in 4,000 steps, rate 32, ten epochs of warm-up.

    Rate and warm-up are those published for AlexNet with batch normalisation (NVIDIA/caffe,
    models/alexnet_bn), which began at 1; for the network without it none are published.
    Command as for batch-8k. Not run here: no ImageNet.
    """
    return _large_batch("batch-32k", facts, batch_size=32_768, lr=32.0, warmup_epochs=10.0)


def _large_batch(
    name: str, facts: DataFacts, batch_size: int, lr: float, warmup_epochs: float
) -> Config:
    """A batch that leaves fewer than 10 steps in an epoch shrinks, and the rate with it."""
    fitting = facts.batch_size or min(batch_size, max(32, facts.images // 10))
    return Config(
        recipe=name,
        model=ModelConfig(variant="caffe"),
        augment=AugmentConfig(
            crop="random" if facts.crop else "center", mirror=facts.mirror, color="none"
        ),
        optimizer=OptimizerConfig(kind="lars", lr=lr * fitting / batch_size),
        schedule=ScheduleConfig(kind="polynomial", power=2.0, warmup_epochs=warmup_epochs),
        train=TrainConfig(epochs=100, batch_size=fitting, micro_batch_size=512),
    )


def cifar_18(facts: DataFacts) -> Config:
    """The authors' net of 18 % on CIFAR-10 (layer-params-18pct.cfg): whole images, no augmentation.

    All rates fall by 10 after 120 epochs, and again 10 epochs later.

    Command: alexnet train cifar10 --recipe cifar-18
    The authors: 18 % in 20 minutes.
    """
    return Config(
        recipe="cifar-18",
        model=ModelConfig(variant="cifar-18"),
        data=DataConfig(source="cifar10", size=32),
        augment=AugmentConfig(crop="center", mirror=False, color="none"),
        optimizer=OptimizerConfig(
            lr=0.001,
            bias_lr_factor=2.0,
            weight_decay=0.004,
            layer_decays=(("fc10", 1.0),),
        ),
        schedule=ScheduleConfig(kind="steps", milestones=(121, 131)),
        train=TrainConfig(epochs=140, batch_size=128, precision="fp32"),
    )


def cifar_13(facts: DataFacts) -> Config:
    """The authors' net of 13 % on CIFAR-10 (layer-params-conv-local-13pct.cfg).

    Random 24x24 crops and reflections; the test averages nine crops. The biases keep their rate
    when that of the weights falls.

    Command: alexnet train cifar10 --recipe cifar-13
    The authors: 13 %.
    """
    return Config(
        recipe="cifar-13",
        model=ModelConfig(variant="cifar-13"),
        data=DataConfig(source="cifar10", size=32),
        augment=AugmentConfig(crop="random", mirror=True, color="none"),
        optimizer=OptimizerConfig(
            lr=0.001,
            bias_lr_factor=2.0,
            bias_lr_floor=1.0,
            weight_decay=0.004,
            layer_decays=(("conv1", 0.0), ("conv2", 0.0)),
        ),
        schedule=ScheduleConfig(kind="steps", milestones=(501, 511)),
        train=TrainConfig(epochs=520, batch_size=128, precision="fp32"),
        evaluation=EvaluationConfig(views=9),
    )


def cifar_11(facts: DataFacts) -> Config:
    """The authors' net of 11 % on CIFAR-10 (layer-params-conv-local-11pct.cfg): as `cifar-13`.

    Command: alexnet train cifar10 --recipe cifar-11
    The authors: 11 %.
    """
    like = cifar_13(facts)
    return replace(
        like,
        recipe="cifar-11",
        model=ModelConfig(variant="cifar-11"),
        optimizer=replace(
            like.optimizer, layer_decays=(("conv1", 0.0), ("conv2", 0.0), ("fc10", 0.01))
        ),
    )


def smoke(facts: DataFacts) -> Config:
    """A narrow net for a few steps: does everything hang together? Learns nothing worth having.

    Command: alexnet train --recipe smoke
    Two cores: 5 s.
    """
    return Config(
        recipe="smoke",
        model=ModelConfig(variant="paper", width=1 / 16, image_size=64),
        data=DataConfig(size=72),
        augment=AugmentConfig(mirror=facts.mirror),
        optimizer=OptimizerConfig(kind="2012", lr=0.001),
        train=TrainConfig(epochs=1, steps=20, batch_size=16, alarm=False),
    )


Recipe = Callable[[DataFacts], Config]
RECIPES: dict[str, Recipe] = {
    "default": default,
    "finetune": finetune,
    "digits": digits,
    "paper": paper,
    "original": original,
    "caffe": caffe,
    "batch-8k": batch_8k,
    "batch-16k": batch_16k,
    "batch-32k": batch_32k,
    "cifar-18": cifar_18,
    "cifar-13": cifar_13,
    "cifar-11": cifar_11,
    "smoke": smoke,
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none.
    """
    if name not in RECIPES:
        raise UserError(unknown("recipe", name, RECIPES))
    return RECIPES[name]
