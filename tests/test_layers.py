"""Normalization and residual branches: forward, backward and running statistics against torch's own modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.test_activations import in_autograd
from winit.activations import activation
from winit.datasets import batch, load
from winit.layers import EPSILON, NORMALIZATIONS, RESIDUALS
from winit.network import Ensemble, Member, Workspace, initialize, layer_inputs
from winit.spec import Spec

TOLERANCE = 1e-12
MEMBERS = (Member("he_normal", 0, 0.1), Member("torch_default", 5, 0.1), Member("orthogonal", 2, 0.1))
EACH = pytest.mark.parametrize(
    ("normalization", "residual"),
    [(norm, residual) for norm in ("none", *NORMALIZATIONS) for residual in ("off", *RESIDUALS)],
)


class Phi(nn.Module):
    """The activation in autograd, remembering what it was applied to."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.inputs: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        z.retain_grad()
        self.inputs = z
        return in_autograd(self.name, z)


def norm_module(kind: str, units: int) -> nn.Module:
    """Return torch's module of a normalization, in double precision."""
    if kind == "batch":
        return nn.BatchNorm1d(units, eps=EPSILON, dtype=torch.float64)
    if kind == "layer":
        return nn.LayerNorm(units, eps=EPSILON, dtype=torch.float64)
    return nn.RMSNorm(units, eps=EPSILON, dtype=torch.float64)


class Block(nn.Module):
    def __init__(self, inner: nn.Sequential, scale: Tensor, is_learned: bool) -> None:
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(scale.clone(), requires_grad=is_learned)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.scale * self.inner(h)


def module_of(ensemble: Ensemble, member: int, spec: Spec) -> nn.Sequential:
    """Return one member as the module that anybody would write, with the same numbers."""

    def linear(number: int) -> nn.Linear:
        weight = ensemble.weights[number][member]
        made = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        with torch.no_grad():
            made.weight.copy_(weight)
            made.bias.copy_(ensemble.biases[number][member, :, 0])
        return made

    def norm(number: int) -> list[nn.Module]:
        if spec.normalization == "none":
            return []
        state = ensemble.norms[number]
        made = norm_module(spec.normalization, state.gain.shape[1])
        with torch.no_grad():
            made.weight.copy_(state.gain[member, :, 0])
            if state.kind.is_centred:
                made.bias.copy_(state.shift[member, :, 0])
            if spec.normalization == "batch":
                made.running_mean.copy_(state.mean[member, :, 0])
                made.running_var.copy_(state.variance[member, :, 0])
        return [made]

    layers: list[nn.Module] = []
    for number in range(spec.depth):
        if spec.residual == "off":
            layers += [linear(number), *norm(number), Phi(spec.activation)]
        elif number == 0:
            layers += [linear(0), Phi(spec.activation)]
        else:
            inner = nn.Sequential(*norm(number - 1), linear(number), Phi(spec.activation))
            layers.append(Block(inner, ensemble.branches[number - 1][member, 0, 0], spec.residual == "zero"))
    if spec.residual != "off":
        layers += norm(spec.depth - 1)
    return nn.Sequential(*layers, linear(spec.depth))


def random(*size: int, seed: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(seed))


def stirred(spec: Spec) -> Ensemble:
    """Return an ensemble in which no parameter has the value it starts at."""
    ensemble = initialize(spec, MEMBERS, torch.float64)
    for number, parameter in enumerate(Workspace(ensemble, 32).parameters):
        if parameter.shape[2] == 1:
            parameter.add_(random(*parameter.shape, seed=50 + number), alpha=0.2)
    return ensemble


def assert_close(found: Tensor, expected: Tensor) -> None:
    # At least of size 1: the bias before a batch normalization has a gradient of rounding errors only.
    largest = max(1.0, float(expected.abs().max()))
    assert float((found - expected).abs().max()) <= TOLERANCE * largest


@EACH
@pytest.mark.parametrize("phi", ["tanh", "relu", "gelu", "sigmoid"])
@pytest.mark.parametrize("samples", [11, 32])
def test_forward_and_backward_are_those_of_autograd(normalization: str, residual: str, phi: str, samples: int) -> None:
    spec = Spec(depth=4, width=6, activation=phi, normalization=normalization, residual=residual)
    ensemble = stirred(spec)
    x, cotangent = random(3, 64, samples, seed=1), random(3, 10, samples, seed=2)
    modules = [module_of(ensemble, member, spec) for member in range(3)]
    workspace = Workspace(ensemble, samples)
    outputs = workspace.forward(x)
    gradients = workspace.backward(cotangent.clone())
    assert [g.shape for g in gradients] == [p.shape for p in workspace.parameters]
    for member, module in enumerate(modules):
        expected = module(x[member].T)
        expected.backward(cotangent[member].T)
        assert_close(outputs[member].T, expected.detach())
        theirs = [parameter.grad for parameter in in_order(module)]
        assert len(theirs) == len(gradients)
        for ours, grad in zip(gradients, theirs, strict=True):
            assert grad is not None
            assert_close(ours[member].reshape(grad.shape), grad)
        phis = [part for part in module.modules() if isinstance(part, Phi)]
        for layer, part in enumerate(phis):
            assert part.inputs is not None
            assert part.inputs.grad is not None
            assert_close(workspace.pre_activations[layer][member].T, part.inputs.detach())
            assert_close(workspace.gradients[layer][member].T, part.inputs.grad)
        if normalization == "batch":
            for state, norm in zip(ensemble.norms, batch_norms(module), strict=True):
                assert_close(state.mean[member, :, 0], norm.running_mean)
                assert_close(state.variance[member, :, 0], norm.running_var)


@EACH
@pytest.mark.parametrize("phi", ["tanh", "relu", "gelu", "leaky_relu", "leaky_relu(slope=-0.5)", "softsign"])
def test_lean_passes_give_the_same_bits(normalization: str, residual: str, phi: str) -> None:
    spec = Spec(width=(6, 6, 9, 9), activation=phi, normalization=normalization, residual=residual)
    spec = spec if residual == "off" else spec.replace(width=(6, 6, 6, 6))
    x, cotangent = random(3, 64, 11, seed=1), random(3, 10, 11, seed=2)
    found = []
    for is_lean in (False, True):
        workspace = Workspace(stirred(spec), 11, is_lean=is_lean)
        for _ in range(2):  # the second time in used buffers
            outputs = workspace.forward(x).clone()
            gradients = workspace.backward(cotangent.clone())
        found.append((outputs, *gradients))
    for full, lean in zip(*found, strict=True):
        assert torch.equal(full, lean)


def in_order(module: nn.Module) -> list[nn.Parameter]:
    """Return the learned parameters in the order of `Workspace.parameters`: a block's layers, then its scale."""
    found: list[nn.Parameter] = []
    for child in module.children():
        if isinstance(child, Block):
            found += in_order(child.inner)
            if child.scale.requires_grad:
                found.append(child.scale)
        elif not list(child.children()):
            found += [parameter for parameter in child.parameters() if parameter.requires_grad]
    return found


def batch_norms(module: nn.Module) -> list[nn.BatchNorm1d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm1d)]


@EACH
def test_without_training_it_answers_as_torch_in_eval(normalization: str, residual: str) -> None:
    spec = Spec(depth=3, width=7, activation="tanh", normalization=normalization, residual=residual)
    ensemble = stirred(spec)
    x = random(64, 9, seed=3)
    before = [state.mean.clone() for state in ensemble.norms]
    found = ensemble.outputs(x)
    for member in range(3):
        assert_close(found[member].T, module_of(ensemble, member, spec).eval()(x.T).detach())
    assert all(torch.equal(state.mean, mean) for state, mean in zip(ensemble.norms, before, strict=True))


@EACH
@pytest.mark.parametrize("width", [4, 7, 33])
@pytest.mark.parametrize("batch", [1, 10, 50])
def test_a_member_is_bitwise_the_same_alone_and_in_company(
    normalization: str, residual: str, width: int, batch: int
) -> None:
    spec = Spec(depth=3, width=width, activation="tanh", normalization=normalization, residual=residual)
    member = MEMBERS[1]
    alone, company = initialize(spec, [member]), initialize(spec, [MEMBERS[0], member, *MEMBERS[2:], *MEMBERS])
    x = torch.empty(64, batch).normal_(generator=torch.Generator().manual_seed(4))
    spaces = [Workspace(ensemble, batch) for ensemble in (alone, company)]
    outputs = [space.forward(x.expand(space.ensemble.members, *x.shape)).clone() for space in spaces]
    assert torch.equal(outputs[0][0], outputs[1][1])
    cotangent = torch.empty(10, batch).normal_(generator=torch.Generator().manual_seed(5))
    gradients = [space.backward(cotangent.repeat(space.ensemble.members, 1, 1)) for space in spaces]
    for one, many in zip(*gradients, strict=True):
        assert torch.equal(one[0], many[1])
    for one_state, many_state in zip(alone.norms, company.norms, strict=True):
        assert torch.equal(one_state.mean[0], many_state.mean[1])
        assert torch.equal(one_state.variance[0], many_state.variance[1])


def test_branches_start_at_their_scale() -> None:
    scales = {"plain": 1.0, "depth_scaled": 8**-0.5, "zero": 0.0}
    for name, scale in scales.items():
        ensemble = initialize(Spec(depth=4, width=5, residual=name), MEMBERS)
        assert [float(branch[0, 0, 0]) for branch in ensemble.branches] == pytest.approx([scale] * 3)
    spec = Spec(depth=9, width=5, residual="zero", activation="tanh")
    x = random(64, 3, seed=6)
    first_and_last = initialize(spec, MEMBERS, torch.float64)
    hidden = activation("tanh")(first_and_last.weights[0] @ x + first_and_last.biases[0])
    assert_close(first_and_last.outputs(x), first_and_last.weights[-1] @ hidden + first_and_last.biases[-1])


@pytest.mark.parametrize("initializer", ["random_normal(stddev=0.01)", "random_normal(stddev=1)", "he_normal"])
@pytest.mark.parametrize("kind", ["batch", "layer", "rms"])
def test_normalization_undoes_the_scale_of_the_weights(initializer: str, kind: str) -> None:
    spec = Spec(depth=12, width=64, normalization=kind, initializer=initializer)
    ensemble = initialize(spec, [Member(initializer, 0, 0.1)], torch.float64)
    workspace = Workspace(ensemble, 64)
    workspace.forward(random(1, 64, 64, seed=7))
    last = workspace.pre_activations[-1]
    assert float(last.square().mean()) == pytest.approx(1, rel=0.05)


def test_running_statistics_start_at_the_data() -> None:
    spec = Spec(depth=2, width=256, normalization="batch")
    ensemble = initialize(spec, [Member("random_normal(stddev=1)", 0, 0.1)], torch.float64)
    ensemble.calibrate(torch.tensor(load("digits").train_x[:256], dtype=torch.float64).T)
    # Of the 64 inputs 61 have variance 1 and the others are constant.
    assert float(ensemble.norms[0].variance.mean()) == pytest.approx(61, rel=0.15)


@EACH
@pytest.mark.parametrize("phi", ["tanh", "relu"])
def test_lsuv_fits_each_layer_to_what_it_sees_behind_norms_and_branches(
    normalization: str, residual: str, phi: str
) -> None:
    spec = Spec(depth=6, width=24, activation=phi, normalization=normalization, residual=residual, initializer="lsuv")
    ensemble = initialize(spec, [Member("he_normal", 0, 0.1), Member("lsuv(tolerance=0.001)", 3, 0.1)], torch.float64)
    module = module_of(ensemble, 1, spec)
    seen: list[Tensor] = []
    linears = [part for part in module.modules() if isinstance(part, nn.Linear)]
    for linear in linears:
        linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    module(torch.tensor(batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed), dtype=torch.float64))
    assert len(seen) == spec.depth + 1
    for layer, (linear, inputs) in enumerate(zip(linears, seen, strict=True), start=1):
        variance = float((inputs @ linear.weight.detach().T).var(correction=0))
        assert abs(variance - 1) < 0.001 + 1e-5  # float32 leaves 1e-5
        ours = layer_inputs(spec, "lsuv(tolerance=0.001)", 3, layer).double().T
        torch.testing.assert_close(ours, inputs, rtol=1e-4, atol=1e-5)
