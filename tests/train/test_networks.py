"""Teacher, student and TNR: METHOD's shapes, and nothing learns that must not."""

import pytest
import torch
from torch import Tensor

from dtgd_edge.train.backbones import ResNet, backbone_spec, set_requires_grad
from dtgd_edge.train.networks import (
    DTGD,
    LEVELS,
    InjectingTNR,
    StudentFeatures,
    SubtractingTNR,
    cosine,
)
from dtgd_edge.train.recipe import Shared, StudentRecipe, TNRForm

LEVEL = tuple[int, int, int]


def _network(
    teacher: str = "resnet18_quarter",
    student: str = "resnet18_quarter",
    tnr: TNRForm = "subtract",
    skips: bool = False,
) -> DTGD:
    torch.manual_seed(0)
    return DTGD(ResNet(backbone_spec(teacher), LEVELS), StudentRecipe(student, tnr, skips))


def _shapes(tensors: list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(t.shape[1:]) for t in tensors]


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        ("resnet18", [(64, 16, 24), (128, 8, 12), (256, 4, 6)]),
        ("wide_resnet50_2", [(256, 16, 24), (512, 8, 12), (1024, 4, 6)]),
    ],
)
def test_shapes_of_the_method_with_a_resnet18_student(teacher: str, expected: list[LEVEL]) -> None:
    network = _network(teacher, "resnet18").eval()
    encoded: list[Tensor] = []
    for stage in range(1, LEVELS + 2):
        block = network.student.encoder.get_submodule(f"layer{stage}")
        block.register_forward_hook(lambda *args: encoded.append(args[2]))
    with torch.inference_mode():
        features, student = network(torch.rand(1, 3, 64, 96))
    assert _shapes(encoded) == [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
    assert _shapes(features) == _shapes(student.decoded) == _shapes(student.cleaned) == expected
    assert _shapes(student.gates) == [(1, *shape[1:]) for shape in expected]


@pytest.mark.parametrize("channels", [(16, 16), (64, 256), (256, 1024)])
def test_tnr_starts_as_the_identity(channels: tuple[int, int]) -> None:
    tnr = SubtractingTNR(*channels)
    encoded = torch.rand(2, channels[0], 8, 8).relu()
    for mode in (True, False):
        cleaned, gate = tnr.train(mode)(encoded, torch.rand(2, channels[1], 8, 8))
        torch.testing.assert_close(cleaned, encoded, rtol=0, atol=0)
        assert gate.shape == (2, 1, 8, 8)


def test_tnr_still_starts_as_the_identity_inside_the_student() -> None:
    network = _network().eval()
    for tnr in network.student.tnr or ():
        encoded = torch.rand(1, tnr.noise.out_channels, 8, 8)
        cleaned, _ = tnr(encoded, encoded)
        torch.testing.assert_close(cleaned, encoded, rtol=0, atol=0)
        assert (tnr.gate.bias == 2).all()


def test_tnr_only_ever_subtracts_where_its_gate_is_shut() -> None:
    tnr = SubtractingTNR(16, 16).eval()
    torch.nn.init.constant_(tnr.noise.bias, 0.25)
    torch.nn.init.zeros_(tnr.gate.weight)
    encoded = torch.rand(1, 16, 4, 4)
    for bias, taken in ((50.0, 0.0), (-50.0, 0.25), (0.0, 0.125)):
        torch.nn.init.constant_(tnr.gate.bias, bias)
        cleaned, _ = tnr(encoded, torch.rand(1, 16, 4, 4))
        torch.testing.assert_close(cleaned, (encoded - taken).relu())


def test_injecting_tnr_mixes_the_teacher_in_where_its_gate_is_open() -> None:
    tnr = InjectingTNR(16, 24).eval()
    torch.nn.init.zeros_(tnr.gate.weight)
    encoded, teacher = torch.rand(1, 16, 4, 4), torch.rand(1, 24, 4, 4)
    detail = tnr.detail(teacher)
    for bias, share in ((50.0, 1.0), (-50.0, 0.0), (0.0, 0.5)):
        torch.nn.init.constant_(tnr.gate.bias, bias)
        mixed, gate = tnr(encoded, teacher)
        torch.testing.assert_close(mixed, share * detail + (1 - share) * encoded)
        assert gate.shape == (1, 1, 4, 4) and (mixed >= 0).all()


def test_only_skips_take_the_encoder_past_the_bottleneck() -> None:
    for skips in (False, True):
        network = _network(skips=skips).eval()
        features = network.teacher(torch.rand(1, 3, 64, 64))
        bottleneck = torch.rand(1, 128, 2, 2)
        with torch.inference_mode():
            one, two = (network.student.decoder(bottleneck, [s * f for f in features]) for s in (1, 2))
        assert _shapes(one) == _shapes(features)
        assert all(torch.equal(a, b) is not skips for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("tnr", ["subtract", "inject", "off"])
def test_skips_are_the_cleaned_features(tnr: TNRForm) -> None:
    network = _network(tnr=tnr, skips=True).eval()
    seen: list[Tensor] = []
    network.student.decoder.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[1]))
    with torch.inference_mode():
        _, student = network(torch.rand(1, 3, 64, 64))
    assert len(seen) == LEVELS
    assert all(a is b for a, b in zip(seen, student.cleaned, strict=True))  # the heads are identities here


def test_without_tnr_the_teacher_does_not_reach_the_student() -> None:
    network = _network(tnr="off").eval()
    x = torch.rand(1, 3, 64, 64)
    features = network.teacher(x)
    with torch.inference_mode():
        one = network.student(x, features)
        two = network.student(x, [torch.zeros_like(f) for f in features])
    assert one.gates == []
    for a, b in zip(one.decoded, two.decoded, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_teacher_stays_in_eval_mode_and_asks_for_no_gradient() -> None:
    network = _network()
    for mode in (True, False, True):
        network.train(mode)
        assert not any(m.training for m in network.teacher.modules())
        assert network.student.training is mode
    assert not any(p.requires_grad for p in network.teacher.parameters())
    assert all(p.requires_grad for p in network.student.parameters())


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("tnr", ["subtract", "inject", "off"])
def test_no_gradient_flows_into_the_teachers_features(tnr: TNRForm, skips: bool) -> None:
    network = _network(tnr=tnr, skips=skips)
    features, student = network(torch.rand(2, 3, 64, 64))
    assert not any(f.requires_grad for f in features)
    before = {k: v.clone() for k, v in network.teacher.state_dict().items()}
    sum((d.sum() for d in (*student.decoded, *student.cleaned, *student.gates)), torch.zeros(())).backward()
    assert all(p.grad is None for p in network.teacher.parameters())
    assert all(p.grad is not None for p in network.student.parameters())
    for name, value in network.teacher.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(("shares", "own"), [("stem", 3), ("stage1", 2)])
@pytest.mark.parametrize("tnr", ["subtract", "off"])
def test_a_student_computes_only_what_it_does_not_share(shares: Shared, own: int, tnr: TNRForm) -> None:
    recipe = StudentRecipe("resnet18_quarter", tnr, shares=shares)
    network = DTGD(ResNet(backbone_spec("resnet18_half")), recipe).eval()
    calls: list[str] = []
    for name, module in network.named_modules():
        if name.endswith("conv1"):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    features, student = network(torch.rand(1, 3, 64, 64))
    assert len(student.decoded) == LEVELS and len(student.cleaned) == own
    assert len(student.gates) == (own if tnr == "subtract" else 0)
    assert _shapes(student.cleaned) == _shapes(features)[-own:]
    assert calls.count("teacher.conv1") == 1 and "student.encoder.conv1" not in calls
    assert ("student.encoder.layer1.0.conv1" in calls) is (shares == "stem")


@pytest.mark.parametrize("shares", ["nothing", "stem", "stage1"])
def test_a_shared_prefix_gets_no_gradient_and_is_the_same_in_training(shares: Shared) -> None:
    recipe = StudentRecipe("resnet18_quarter", shares=shares)
    network = DTGD(ResNet(backbone_spec("resnet18_quarter")), recipe)
    set_requires_grad(network.teacher, True)  # as one that learns
    x = torch.rand(2, 3, 64, 64)
    levels = network.teacher(x)
    entered = network.encoder_input(x, levels)
    assert not entered.requires_grad
    torch.testing.assert_close(entered, network.encoder_input(x, levels, network.teacher.stem(x).detach()))
    student = network.student(entered, [f.detach() for f in levels])
    sum((f.sum() for f in (*student.decoded, *student.cleaned)), torch.zeros(())).backward()
    assert all(p.grad is None for p in network.teacher.parameters())
    assert all(p.grad is not None for n, p in network.student.named_parameters() if "gate" not in n)


@pytest.mark.parametrize(("shares", "finest"), [("nothing", 1), ("stem", 1), ("stage1", 2)])
def test_what_is_shared_never_skips_the_bottleneck(shares: Shared, finest: int) -> None:
    recipe = StudentRecipe("resnet18_quarter", skips=True, shares=shares)
    network = DTGD(ResNet(backbone_spec("resnet18_quarter")), recipe).eval()
    inputs = [block[0].conv1.in_channels for block in network.student.decoder.blocks]  # type: ignore[index]
    assert [n > plain for n, plain in zip(inputs, (128, 64, 32), strict=True)] == [
        level >= finest for level in (3, 2, 1)
    ]
    features, student = network(torch.rand(1, 3, 64, 64))
    assert _shapes(student.decoded) == _shapes(features)


def test_a_narrower_decoder_of_one_block_still_gives_the_teachers_channels() -> None:
    recipe = StudentRecipe("resnet10_half", shares="stage1", decoder="resnet18_quarter", decoder_blocks=1)
    network = DTGD(ResNet(backbone_spec("resnet18_half")), recipe).eval()
    features, student = network(torch.rand(1, 3, 64, 64))
    assert _shapes(student.decoded) == _shapes(features)
    assert [len(block) for block in network.student.decoder.blocks] == [1, 1, 1]  # type: ignore[arg-type]
    network.start_encoder()
    assert torch.equal(network.student.encoder.layer2[0].conv1.weight, network.teacher.layer2[0].conv1.weight)


def test_student_features_are_one_per_level() -> None:
    _, student = _network().eval()(torch.rand(1, 3, 64, 64))
    assert isinstance(student, StudentFeatures)
    assert len(student.cleaned) == len(student.decoded) == len(student.gates) == LEVELS


def test_cosine_of_equal_opposite_and_orthogonal_features() -> None:
    a = torch.rand(2, 8, 3, 3) + 0.1
    assert cosine(a, 3 * a).sub(1).abs().max() < 1e-4
    assert cosine(a, -a).add(1).abs().max() < 1e-4
    b = a * torch.tensor([1.0, -1.0]).repeat(4).view(1, 8, 1, 1)
    torch.testing.assert_close(
        cosine(a, b), torch.nn.functional.cosine_similarity(a, b, dim=1), rtol=0, atol=1e-5
    )


def test_cosine_of_zero_features_is_zero_with_a_bounded_gradient() -> None:
    a = torch.zeros(1, 64, 2, 2, requires_grad=True)
    b = 1e3 * torch.rand(1, 64, 2, 2)
    value = cosine(a, b)
    assert (value == 0).all()
    value.sum().backward()
    assert a.grad is not None and a.grad.isfinite().all()
    assert a.grad.norm(dim=1).max() <= 1001  # 1 / sqrt(epsilon)
    both = torch.zeros(1, 64, 2, 2, requires_grad=True)
    cosine(both, both).sum().backward()
    assert both.grad is not None and both.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cosine_is_float32_even_where_half_precision_overflows(dtype: torch.dtype) -> None:
    a, b = (100 * torch.rand(1, 512, 2, 2) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        value = cosine(a.to(dtype), b.to(dtype))
    assert value.dtype == torch.float32
    torch.testing.assert_close(
        value,
        torch.nn.functional.cosine_similarity(a.to(dtype).float(), b.to(dtype).float()),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("tnr", ["subtract", "inject"])
def test_works_under_autocast(tnr: TNRForm) -> None:
    network = _network(tnr=tnr, skips=True)
    with torch.autocast("cpu", torch.bfloat16):
        _, student = network(torch.rand(2, 3, 64, 64))
    assert all(t.isfinite().all() for t in (*student.decoded, *student.cleaned, *student.gates))
