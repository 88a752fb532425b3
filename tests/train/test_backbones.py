"""The ResNets: torchvision's shapes, names and parameter counts."""

import pytest
import torch

from dtgd_edge.errors import ConfigError
from dtgd_edge.train.backbones import (
    BACKBONES,
    ResNet,
    backbone_name_from_weights,
    backbone_spec,
    set_requires_grad,
)

# Of torchvision's models without their classifiers (fc), counted from its documentation.
PARAMETERS_WITHOUT_CLASSIFIER = {
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "wide_resnet50_2": 68_883_240 - 2_049_000,
}


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", (64, 128, 256)),
        ("resnet34", (64, 128, 256)),
        ("resnet50", (256, 512, 1024)),
        ("wide_resnet50_2", (256, 512, 1024)),
        ("resnet18_half", (32, 64, 128)),
        ("resnet18_quarter", (16, 32, 64)),
    ],
)
def test_features_have_the_shapes_of_the_method(name: str, channels: tuple[int, ...]) -> None:
    with torch.inference_mode():
        features = ResNet(backbone_spec(name)).eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [(1, c, 16 >> k, 24 >> k) for k, c in enumerate(channels)]
    assert all(f.min() >= 0 for f in features)


@pytest.mark.parametrize("name", PARAMETERS_WITHOUT_CLASSIFIER)
def test_parameter_counts_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        network = ResNet(backbone_spec(name), stages=4)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS_WITHOUT_CLASSIFIER[name]


def test_names_are_torchvisions() -> None:
    with torch.device("meta"):
        names = set(ResNet(backbone_spec("resnet50"), stages=4).state_dict())
    assert {
        "conv1.weight",
        "bn1.running_var",
        "bn1.num_batches_tracked",
        "layer1.0.conv3.weight",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_mean",
        "layer3.5.bn2.bias",
        "layer4.2.conv1.weight",
    } <= names


def test_the_stride_sits_in_the_3x3_convolution() -> None:
    with torch.device("meta"):
        block = ResNet(backbone_spec("resnet50")).get_submodule("layer2.0")
    strides = [block.get_submodule(f"conv{i}").stride for i in (1, 2, 3)]
    assert strides == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("stages", [3, 4])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_architecture_is_recognised_by_its_weights(name: str, stages: int) -> None:
    with torch.device("meta"):
        state = ResNet(backbone_spec(name), stages).state_dict()
    assert backbone_name_from_weights(state) == name


def test_foreign_weights_are_not_recognised() -> None:
    with torch.device("meta"):
        state = ResNet(backbone_spec("resnet18")).state_dict()
    assert backbone_name_from_weights({}) is None
    assert backbone_name_from_weights({"features.0.weight": torch.zeros(1)}) is None
    assert backbone_name_from_weights({f"module.{k}": v for k, v in state.items()}) is None
    state["layer1.0.conv1.weight"] = torch.zeros(48, 48, 3, 3)
    assert backbone_name_from_weights(state) is None


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'resnet19' is not known; expected one of resnet18, .*teacher"):
        backbone_spec("resnet19")


def test_freezing_reaches_every_parameter() -> None:
    network = ResNet(backbone_spec("resnet18_quarter"))
    set_requires_grad(network, False)
    assert not any(p.requires_grad for p in network.parameters())
    set_requires_grad(network, True)
    assert all(p.requires_grad for p in network.parameters())
