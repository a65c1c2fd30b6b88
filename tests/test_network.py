"""The stacked networks against torch's own layers and autograd; a member is itself in any company."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from winit.activations import ACTIVATIONS
from winit.datasets import load
from winit.initializers import INITIALIZERS
from winit.layers import NORMALIZATIONS, RESIDUALS
from winit.network import Ensemble, Member, Workspace, initialize
from winit.seeds import generator
from winit.spec import Spec

TOLERANCE = 1e-12
MEMBERS = (
    Member("he_normal", 0, 0.1),
    Member("torch_default", 5, 0.1),
    Member("orthogonal", 0, 0.1),
    Member("random_normal(stddev=0.7)", 9, 0.1),
)
# At 30 rad a unit, sine's default, a few layers make a large difference of the last bit.
EACH_ACTIVATION = pytest.mark.parametrize("activation", [name.replace("sine", "sine(omega=1)") for name in ACTIVATIONS])


_OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "prelu": lambda z: F.leaky_relu(z, 0.25),
    # torch's gradient of hardsigmoid has a sixth in single precision only.
    "hardsigmoid": lambda z: (z + 3).clamp(0, 6) / 6,
    "scaled_tanh": lambda z: 1.7159 * torch.tanh(2 * z / 3),
    "erf": torch.erf,
    "sine(omega=1)": torch.sin,
}


def _function(activation: str) -> Callable[[Tensor], Tensor]:
    """Return the function of that name in torch, where most have the names of `torch.nn.functional`."""
    function: Callable[[Tensor], Tensor] = _OTHERS.get(activation) or getattr(F, activation)
    return function


class _Elementwise(nn.Module):
    def __init__(self, activation: str) -> None:
        super().__init__()
        self.function = _function(activation)
        self.inputs: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        z.retain_grad()
        self.inputs = z
        return self.function(z)


def _sequential(ensemble: Ensemble, member: int) -> nn.Sequential:
    """Return one member as the network that anybody would write, with the same weights."""
    layers: list[nn.Module] = []
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        linear = nn.Linear(weight.shape[2], weight.shape[1], dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight[member])
            linear.bias.copy_(bias[member, :, 0])
        layers += [linear, _Elementwise(ensemble.activation.text)]
    return nn.Sequential(*layers[:-1])


def _assert_close(found: Tensor, expected: Tensor, *, vanishes: bool = False) -> None:
    """Assert equality to 1e-12 of the largest value, which must not be 0 (unless `vanishes`)."""
    assert found.shape == expected.shape
    largest = float(expected.abs().max())
    assert vanishes or largest > 0
    assert float((found - expected).abs().max()) <= TOLERANCE * largest


def _random(*size: int, seed: int = 1) -> Tensor:
    return torch.empty(size, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(seed))


Width = int | tuple[int, ...]


def _ensemble(activation: str = "tanh", *, depth: int = 3, width: Width = 7, dataset: str = "digits") -> Ensemble:
    ensemble = initialize(
        Spec(depth=depth, width=width, activation=activation, dataset=dataset), MEMBERS, torch.float64
    )
    # Zero biases would hide a bias that is forgotten, and torch_default alone has others.
    for number, bias in enumerate(ensemble.biases):
        bias.add_(_random(*bias.shape, seed=100 + number), alpha=0.3)
    return ensemble


@EACH_ACTIVATION
@pytest.mark.parametrize(
    ("depth", "width", "dataset"), [(3, 7, "digits"), (1, 1, "moons"), (6, 5, "blobs"), (3, (9, 4, 33), "xor")]
)
def test_forward_and_backward_are_those_of_autograd(activation: str, depth: int, width: Width, dataset: str) -> None:
    ensemble = _ensemble(activation, depth=depth, width=width, dataset=dataset)
    features, outputs = ensemble.weights[0].shape[2], ensemble.weights[-1].shape[1]
    x = _random(len(MEMBERS), features, 11, seed=2)
    cotangent = _random(len(MEMBERS), outputs, 11, seed=3)
    workspace = Workspace(ensemble, 11)
    found = workspace.forward(x)
    gradients = workspace.backward(cotangent.clone())
    weight_gradients, bias_gradients = gradients[::2], gradients[1::2]

    for member in range(len(MEMBERS)):
        net = _sequential(ensemble, member)
        expected = net(x[member].T)
        expected.backward(cotangent[member].T)
        _assert_close(found[member].T, expected.detach())
        linears = [module for module in net if isinstance(module, nn.Linear)]
        hidden = [module for module in net if isinstance(module, _Elementwise)]
        assert len(linears) == len(weight_gradients) == len(bias_gradients) == depth + 1
        for layer, linear in enumerate(linears):
            assert linear.weight.grad is not None
            assert linear.bias.grad is not None
            # A single ReLU unit may be off for all samples: then nothing flows, in both.
            vanishes = width == 1 or activation in ("relu", "relu6", "hardtanh", "hardsigmoid")
            _assert_close(weight_gradients[layer][member], linear.weight.grad, vanishes=vanishes)
            _assert_close(bias_gradients[layer][member, :, 0], linear.bias.grad, vanishes=vanishes)
        for layer, module in enumerate(hidden):
            z = module.inputs
            assert z is not None
            assert z.grad is not None
            _assert_close(workspace.pre_activations[layer][member].T, z.detach())
            _assert_close(workspace.activations[layer][member].T, module.function(z).detach(), vanishes=vanishes)
            _assert_close(workspace.gradients[layer][member].T, z.grad, vanishes=vanishes)


@EACH_ACTIVATION
def test_gradients_are_those_of_finite_differences(activation: str) -> None:
    ensemble = _ensemble(activation, depth=2, width=4, dataset="moons")
    x, cotangent = _random(len(MEMBERS), 2, 5, seed=4), _random(len(MEMBERS), 2, 5, seed=5)
    workspace = Workspace(ensemble, 5)
    workspace.forward(x)
    gradients = workspace.backward(cotangent.clone())[::2]
    step = 1e-6
    for layer, weight in enumerate(ensemble.weights):
        expected = gradients[layer][:, 1, 0].clone()
        ends = []
        for sign in (1, -1):
            weight[:, 1, 0] += sign * step
            ends.append((Workspace(ensemble, 5).forward(x) * cotangent).sum(dim=(1, 2)))
            weight[:, 1, 0] -= sign * step
        torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), expected, rtol=1e-5, atol=1e-8)


def test_shapes() -> None:
    spec = Spec(depth=3, width=7, dataset="blobs")
    ensemble = initialize(spec, MEMBERS)
    assert [tuple(weight.shape) for weight in ensemble.weights] == [(4, 7, 2), (4, 7, 7), (4, 7, 7), (4, 3, 7)]
    assert [tuple(bias.shape) for bias in ensemble.biases] == [(4, 7, 1)] * 3 + [(4, 3, 1)]
    assert ensemble.members == 4
    assert ensemble.dtype == torch.float32
    x = torch.tensor(load("blobs").train_x[:10]).T
    assert ensemble.outputs(x).shape == (4, 3, 10)
    workspace = Workspace(ensemble, 10)
    workspace.backward(workspace.forward(x.expand(4, 2, 10)).clone())
    assert [tuple(z.shape) for z in workspace.pre_activations] == [(4, 7, 10)] * 3
    assert [tuple(a.shape) for a in workspace.activations] == [(4, 7, 10)] * 3
    assert [tuple(g.shape) for g in workspace.gradients] == [(4, 7, 10)] * 3


def test_shapes_of_layers_of_different_widths() -> None:
    ensemble = initialize(Spec(width=(6, 1, 40), dataset="blobs", normalization="batch"), MEMBERS)
    assert [tuple(weight.shape) for weight in ensemble.weights] == [(4, 6, 2), (4, 1, 6), (4, 40, 1), (4, 3, 40)]
    assert [tuple(norm.gain.shape) for norm in ensemble.norms] == [(4, 6, 1), (4, 1, 1), (4, 40, 1)]
    workspace = Workspace(ensemble, 10)
    workspace.forward(_random(4, 2, 10).float())
    assert [tuple(z.shape) for z in workspace.pre_activations] == [(4, 6, 10), (4, 1, 10), (4, 40, 10)]
    assert ensemble.outputs(_random(2, 10).float()).shape == (4, 3, 10)


@pytest.mark.parametrize("normalization", ["none", *NORMALIZATIONS])
@pytest.mark.parametrize("residual", ["off", *RESIDUALS])
def test_gradients_are_in_the_order_of_the_parameters(normalization: str, residual: str) -> None:
    """Layer by layer: weight and bias, gain and shift, and the scale of a branch after what is in it."""
    spec = Spec(depth=3, width=7, dataset="blobs", normalization=normalization, residual=residual)
    ensemble = initialize(spec, MEMBERS)
    workspace = Workspace(ensemble, 12)
    linears = [[weight, bias] for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True)]
    norms = [list(norm.parameters) for norm in ensemble.norms] or [[]] * 3
    scales = [[scale] for scale in ensemble.branches] if residual == "zero" else [[], []]
    if residual == "off":
        expected = [*linears[0], *norms[0], *linears[1], *norms[1], *linears[2], *norms[2], *linears[3]]
    else:  # each branch is normalized where it begins, and the sum of all before the output
        branches = [*norms[0], *linears[1], *scales[0], *norms[1], *linears[2], *scales[1]]
        expected = [*linears[0], *branches, *norms[2], *linears[3]]
    found = workspace.parameters
    assert len(found) == len(expected)
    # The ensemble's own tensors: whoever moves a parameter moves the network.
    assert all(parameter is own for parameter, own in zip(found, expected, strict=True))
    outputs = workspace.forward(_random(4, 2, 12).float())
    gradients = workspace.backward(outputs.clone())
    assert [gradient.shape for gradient in gradients] == [parameter.shape for parameter in found]
    assert [gradient.stride() for gradient in gradients] == [parameter.stride() for parameter in found]


@pytest.mark.parametrize("normalization", ["none", *NORMALIZATIONS])
@pytest.mark.parametrize("residual", ["off", *RESIDUALS])
def test_blocks_change_no_draw(normalization: str, residual: str) -> None:
    spec = Spec(depth=3, width=7)
    plain, ensemble = (
        initialize(one, MEMBERS) for one in (spec, spec.replace(normalization=normalization, residual=residual))
    )
    for one, other in zip((*plain.weights, *plain.biases), (*ensemble.weights, *ensemble.biases), strict=True):
        assert torch.equal(one, other)
    assert len(ensemble.norms) == (3 if normalization != "none" else 0)
    for norm in ensemble.norms:
        assert (norm.gain == 1).all()
        assert (norm.shift == 0).all()
    assert len(ensemble.branches) == (2 if residual != "off" else 0)
    for scale in ensemble.branches:
        assert (scale == RESIDUALS[residual].scale(3)).all()


def test_one_hidden_layer_has_no_branch() -> None:
    for residual in RESIDUALS:
        spec = Spec(depth=1, width=7, dataset="moons")
        plain, ensemble = (initialize(one, MEMBERS) for one in (spec, spec.replace(residual=residual)))
        x = _random(2, 5).float()
        assert torch.equal(plain.outputs(x), ensemble.outputs(x))


@pytest.mark.parametrize("activation", ["relu", "identity", "mish"])
def test_outputs_of_shared_inputs_are_those_of_each_network(activation: str) -> None:
    ensemble = _ensemble(activation)
    x = torch.tensor(load("digits").train_x[:30], dtype=torch.float64)
    found = ensemble.outputs(x.T)
    for member in range(len(MEMBERS)):
        _assert_close(found[member].T, _sequential(ensemble, member)(x).detach())


@EACH_ACTIVATION
def test_a_workspace_is_as_good_as_new_when_used_again(activation: str) -> None:
    ensemble = _ensemble(activation)
    used, fresh = Workspace(ensemble, 6), Workspace(ensemble, 6)
    used.forward(_random(len(MEMBERS), 64, 6, seed=6))
    used.backward(_random(len(MEMBERS), 10, 6, seed=7))
    x, cotangent = _random(len(MEMBERS), 64, 6, seed=8), _random(len(MEMBERS), 10, 6, seed=9)
    assert torch.equal(used.forward(x), fresh.forward(x))
    for again, first in zip(used.backward(cotangent.clone()), fresh.backward(cotangent.clone()), strict=True):
        assert torch.equal(again, first)


def test_backward_leaves_inputs_weights_and_cotangent_alone() -> None:
    ensemble = _ensemble("relu")
    x, cotangent = _random(len(MEMBERS), 64, 6), _random(len(MEMBERS), 10, 6)
    before = [value.clone() for value in (x, cotangent, *ensemble.weights, *ensemble.biases)]
    workspace = Workspace(ensemble, 6)
    workspace.forward(x)
    workspace.backward(cotangent)
    after = (x, cotangent, *ensemble.weights, *ensemble.biases)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("initializer", list(INITIALIZERS))
def test_a_member_draws_the_same_alone_or_in_company(initializer: str) -> None:
    spec = Spec(depth=3, width=10, activation="tanh")
    member = Member(initializer, 3, 0.1)
    alone = initialize(spec, [member])
    company = initialize(spec, [*MEMBERS, member, Member(initializer, 4, 0.1), *MEMBERS])
    for layer in range(4):
        assert torch.equal(alone.weights[layer][0], company.weights[layer][4])
        assert torch.equal(alone.biases[layer][0], company.biases[layer][4])


def test_a_layer_draws_from_a_stream_of_its_own() -> None:
    short = initialize(Spec(depth=2, width=8, dataset="digits"), MEMBERS)
    long = initialize(Spec(depth=9, width=8, dataset="moons"), MEMBERS)
    # More inputs, so more draws, in layer 1 and more layers behind: layer 2 is none the wiser.
    assert short.weights[0].shape != long.weights[0].shape
    assert torch.equal(short.weights[1], long.weights[1])
    assert torch.equal(short.biases[1], long.biases[1])


def test_layers_and_seeds_are_independent() -> None:
    spec = Spec(depth=6, width=100)
    members = [Member("random_normal(stddev=1)", seed, 0.1) for seed in (0, 1, 2, 2**31 - 1)]
    matrices = torch.cat(initialize(spec, members).weights[1:-1]).flatten(1).double()
    correlations = torch.corrcoef(matrices) - torch.eye(len(matrices))
    # 190 pairs of 10,000 numbers each: sd 0.01, and nothing beyond five of them.
    assert float(correlations.abs().max()) < 0.05


def test_the_same_seed_and_layer_give_the_same_draw_whatever_the_rate() -> None:
    spec = Spec(depth=2, width=5)
    slow, fast = (initialize(spec, [Member("he_normal", 7, rate)]) for rate in (1e-5, 10.0))
    assert all(torch.equal(a, b) for a, b in zip(slow.weights, fast.weights, strict=True))


def test_double_precision_starts_from_the_same_numbers() -> None:
    spec = Spec(depth=2, width=5)
    single, double = initialize(spec, MEMBERS), initialize(spec, MEMBERS, torch.float64)
    assert double.dtype == torch.float64
    for a, b in zip((*single.weights, *single.biases), (*double.weights, *double.biases), strict=True):
        assert torch.equal(a.double(), b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_precision_is_a_copy(dtype: torch.dtype) -> None:
    ensemble = initialize(Spec(depth=1, width=3), MEMBERS)
    copy = ensemble.to(dtype)
    kept = ensemble.weights[0].clone()
    copy.weights[0].zero_()
    copy.biases[0].fill_(1)
    assert torch.equal(ensemble.weights[0], kept)
    assert float(ensemble.biases[0][0].abs().max()) == 0
    assert copy.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_precision_copies_blocks_too(dtype: torch.dtype) -> None:
    ensemble = initialize(Spec(depth=3, width=3, normalization="batch", residual="zero"), MEMBERS)
    ensemble.norms[0].gain.fill_(3)
    copy = ensemble.to(dtype)
    assert copy.learns_branches
    assert len(copy.norms) == 3
    assert len(copy.branches) == 2
    tensors = [t for norm in copy.norms for t in (norm.gain, norm.shift, norm.mean, norm.variance)] + [*copy.branches]
    assert {tensor.dtype for tensor in tensors} == {dtype}
    assert (copy.norms[0].gain == 3).all()
    for tensor in tensors:
        tensor.fill_(7)
    assert (ensemble.norms[0].gain == 3).all()
    assert (ensemble.norms[1].variance == 1).all()
    assert (ensemble.branches[0] == 0).all()


def test_global_randomness_is_neither_read_nor_written() -> None:
    spec = Spec(depth=2, width=5)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = initialize(spec, MEMBERS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = initialize(spec, MEMBERS)
    assert all(torch.equal(a, b) for a, b in zip(first.weights, again.weights, strict=True))


def test_streams_depend_on_seed_purpose_and_index_alone() -> None:
    def draw(seed: int, purpose: str, index: int = 0) -> list[float]:
        drawn: list[float] = torch.empty(4).uniform_(generator=generator(seed, purpose, index)).tolist()
        return drawn

    assert draw(3, "weights", 2) == draw(3, "weights", 2)
    assert draw(3, "weights") == draw(3, "weights", 0)
    names = [
        (seed, purpose, index)
        for seed in (0, 1, 2**31 - 1)
        for purpose in ("weights", "batches")
        for index in (0, 1, 2)
    ]
    assert len({tuple(draw(*name)) for name in names}) == len(names)


def test_generators_do_not_share_their_state() -> None:
    first, second = generator(0, "weights"), generator(0, "weights")
    torch.empty(1000).normal_(generator=first)
    assert torch.equal(
        torch.empty(5).normal_(generator=second), torch.empty(5).normal_(generator=generator(0, "weights"))
    )


def test_one_thread_is_enough_for_a_visitor() -> None:
    assert torch.get_num_threads() == 1
