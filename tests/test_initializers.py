"""The catalogue of initializers against the libraries whose names it uses.

Kernels are (fan_in, fan_out) in Keras and JAX and (fan_out, fan_in) in PyTorch. Draws are compared by a
two-sample Kolmogorov-Smirnov test on 200,000 weights, seeds fixed; what such a test can see is itself tested.
"""

from __future__ import annotations

import ast
import math
import operator
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import jax
import keras
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from winit import initializers, laws
from winit.fields import Choice, Field, Real, Refused
from winit.initializers import FAMILIES, FORM, FRAMEWORKS, INITIALIZERS, LayerShape, scheme, variance_scaling
from winit.seeds import generator

Array = NDArray[np.float64]
Reference = Callable[[int, int], Array]

SMALLEST_P = 1e-5
SHAPES = [LayerShape(500, 400), LayerShape(100, 2000)]
RECORDS = list(INITIALIZERS.values())


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


def _keras(make: Callable[..., Any], **options: Any) -> Reference:
    def draw(fan_in: int, fan_out: int) -> Array:
        kernel = make(seed=101, **options)((fan_in, fan_out))
        return torch.as_tensor(kernel).double().numpy()

    return draw


def _jax(initializer: Callable[..., Any]) -> Reference:
    return lambda fan_in, fan_out: np.asarray(initializer(jax.random.key(102), (fan_in, fan_out)), dtype=np.float64)


def _torch(fill: Callable[..., Any], **options: Any) -> Reference:
    def draw(fan_in: int, fan_out: int) -> Array:
        weight = torch.empty(fan_out, fan_in)
        fill(weight, generator=torch.Generator().manual_seed(103), **options)
        return weight.double().numpy()

    return draw


def _linear(fan_in: int, fan_out: int) -> Array:
    with torch.random.fork_rng():
        torch.manual_seed(104)
        return torch.nn.Linear(fan_in, fan_out).weight.detach().double().numpy()


keras_init, jax_init, torch_init = keras.initializers, jax.nn.initializers, torch.nn.init

SAME_LAW: list[tuple[str, str, Reference]] = [
    ("random_normal", "keras", _keras(keras_init.RandomNormal)),
    ("random_normal(stddev=1)", "torch", _torch(torch_init.normal_)),
    ("random_normal(stddev=0.01)", "jax", _jax(jax_init.normal())),
    ("random_normal(mean=0.5, stddev=0.1)", "keras", _keras(keras_init.RandomNormal, mean=0.5, stddev=0.1)),
    ("random_normal(mean=0.5, stddev=0.1)", "torch", _torch(torch_init.normal_, mean=0.5, std=0.1)),
    ("random_uniform", "keras", _keras(keras_init.RandomUniform)),
    ("random_uniform(minval=0, maxval=1)", "torch", _torch(torch_init.uniform_)),
    ("random_uniform(minval=0, maxval=0.01)", "jax", _jax(jax_init.uniform())),
    ("random_uniform(minval=-0.3, maxval=0.1)", "keras", _keras(keras_init.RandomUniform, minval=-0.3, maxval=0.1)),
    ("random_uniform(minval=-0.3, maxval=0.1)", "torch", _torch(torch_init.uniform_, a=-0.3, b=0.1)),
    ("glorot_normal", "keras", _keras(keras_init.GlorotNormal)),
    ("glorot_normal", "jax", _jax(jax_init.glorot_normal())),
    ("glorot_uniform", "keras", _keras(keras_init.GlorotUniform)),
    ("glorot_uniform", "jax", _jax(jax_init.glorot_uniform())),
    ("glorot_uniform", "torch", _torch(torch_init.xavier_uniform_)),
    ("xavier_uniform", "torch", _torch(torch_init.xavier_uniform_)),
    ("xavier_normal", "torch", _torch(torch_init.xavier_normal_)),
    ("xavier_normal(gain=1.5)", "torch", _torch(torch_init.xavier_normal_, gain=1.5)),
    ("he_normal", "keras", _keras(keras_init.HeNormal)),
    ("he_normal", "jax", _jax(jax_init.he_normal())),
    ("he_uniform", "keras", _keras(keras_init.HeUniform)),
    ("he_uniform", "jax", _jax(jax_init.he_uniform())),
    ("kaiming_uniform", "torch", _torch(torch_init.kaiming_uniform_, nonlinearity="relu")),
    ("kaiming_normal", "torch", _torch(torch_init.kaiming_normal_)),
    ("kaiming_normal(a=0.5)", "torch", _torch(torch_init.kaiming_normal_, a=0.5)),
    ("kaiming_normal(mode=fan_out)", "torch", _torch(torch_init.kaiming_normal_, mode="fan_out")),
    ("kaiming_normal(nonlinearity=tanh)", "torch", _torch(torch_init.kaiming_normal_, nonlinearity="tanh")),
    (
        "kaiming_normal(a=0.5, mode=fan_out, nonlinearity=selu)",
        "torch",
        _torch(torch_init.kaiming_normal_, a=0.5, mode="fan_out", nonlinearity="selu"),
    ),
    ("lecun_normal", "keras", _keras(keras_init.LecunNormal)),
    ("lecun_normal", "jax", _jax(jax_init.lecun_normal())),
    ("lecun_uniform", "keras", _keras(keras_init.LecunUniform)),
    ("lecun_uniform", "jax", _jax(jax_init.lecun_uniform())),
    ("lecun_uniform", "torch", _torch(torch_init.kaiming_uniform_, nonlinearity="linear")),
    ("torch_default", "torch", _linear),
]
for _mode in ("fan_in", "fan_out", "fan_avg"):
    for _shape, _theirs in (("truncated_normal",) * 2, ("untruncated_normal", "normal"), ("uniform",) * 2):
        _text = f"variance_scaling(scale=1.7, mode={_mode}, distribution={_shape})"
        SAME_LAW += [
            (_text, "keras", _keras(keras_init.VarianceScaling, scale=1.7, mode=_mode, distribution=_shape)),
            (_text, "jax", _jax(jax_init.variance_scaling(1.7, _mode, _theirs))),
        ]


def _ours(text: str, shape: LayerShape, seed: int = 0) -> Array:
    return scheme(text).draw(shape, generator(seed, "weights"))[0].double().numpy()


def _agree(first: Array, second: Array) -> bool:
    """Whether two samples may be of one law."""
    found = stats.ks_2samp(first.ravel(), second.ravel(), method="asymp")
    return bool(found.pvalue > SMALLEST_P)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s.fan_in}x{s.fan_out}")
@pytest.mark.parametrize(("text", "library", "reference"), SAME_LAW, ids=[f"{t}-{lib}" for t, lib, _ in SAME_LAW])
def test_draws_follow_the_same_law_as_the_library(
    text: str, library: str, reference: Reference, shape: LayerShape
) -> None:
    theirs = reference(shape.fan_in, shape.fan_out)
    ours = _ours(text, shape)
    assert ours.shape == (shape.fan_out, shape.fan_in)
    assert theirs.size == ours.size
    assert _agree(ours, theirs)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("glorot_normal", _torch(torch_init.xavier_normal_)),  # same variance, not cut
        ("xavier_normal", _keras(keras_init.GlorotNormal)),
        ("he_normal", _torch(torch_init.kaiming_normal_)),
        ("kaiming_normal", _jax(jax_init.he_normal())),
        ("he_normal", _keras(keras_init.HeUniform)),
        ("torch_default", _torch(torch_init.kaiming_uniform_)),  # not Kaiming, whatever one reads
        ("lecun_uniform", _linear),
        # The wrong fan of a transposed kernel.
        ("he_normal", lambda fan_in, fan_out: _keras(keras_init.HeNormal)(fan_out, fan_in)),
        # A standard deviation of the cut normal that is not corrected.
        ("variance_scaling(scale=1)", lambda n, m: _keras(keras_init.TruncatedNormal, stddev=n**-0.5)(n, m)),
        ("random_normal(stddev=0.05)", _keras(keras_init.TruncatedNormal, stddev=0.05)),
    ],
)
def test_the_comparison_sees_what_people_confuse(text: str, reference: Reference) -> None:
    shape = SHAPES[0]
    assert not _agree(_ours(text, shape), reference(shape.fan_in, shape.fan_out))


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("zeros", (_keras(lambda seed: keras_init.Zeros()), lambda n, m: np.asarray(jax_init.zeros(None, (n, m))))),
        (
            "constant(value=0.3)",
            (
                _keras(lambda seed: keras_init.Constant(0.3)),
                lambda n, m: np.asarray(jax_init.constant(0.3)(None, (n, m))),
            ),
        ),
        ("constant(value=1)", (_keras(lambda seed: keras_init.Ones()), lambda n, m: torch.ones(n, m).numpy())),
    ],
)
def test_constants_are_those_of_the_libraries(text: str, references: tuple[Reference, ...]) -> None:
    ours = _ours(text, LayerShape(3, 5))
    for reference in references:
        np.testing.assert_array_equal(ours.T, reference(3, 5))


ORTHOGONAL_DRAWS = 3000


def _keras_orthogonal(gain: float, fan_in: int, fan_out: int) -> Array:
    make = keras_init.Orthogonal(gain=gain, seed=keras.random.SeedGenerator(105))
    return np.stack([torch.as_tensor(make((fan_in, fan_out))).numpy().T for _ in range(ORTHOGONAL_DRAWS)])


def _jax_orthogonal(gain: float, fan_in: int, fan_out: int) -> Array:
    keys = jax.random.split(jax.random.key(106), ORTHOGONAL_DRAWS)
    return np.asarray(jax.vmap(lambda key: jax_init.orthogonal(gain)(key, (fan_in, fan_out)).T)(keys))


def _torch_orthogonal(gain: float, fan_in: int, fan_out: int) -> Array:
    source, weight = torch.Generator().manual_seed(107), torch.empty(fan_out, fan_in)
    return np.stack(
        [torch_init.orthogonal_(weight, gain, generator=source).numpy().copy() for _ in range(ORTHOGONAL_DRAWS)]
    )


@pytest.mark.parametrize("shape", [LayerShape(3, 5), LayerShape(5, 3), LayerShape(4, 4)])
@pytest.mark.parametrize("reference", [_keras_orthogonal, _jax_orthogonal, _torch_orthogonal])
def test_orthogonal_follows_the_law_of_the_libraries(
    reference: Callable[[float, int, int], Array], shape: LayerShape
) -> None:
    theirs = reference(1.5, shape.fan_in, shape.fan_out)
    source, bound = generator(0, "weights"), scheme("orthogonal(gain=1.5)")
    ours = np.stack([bound.draw(shape, source)[0].numpy() for _ in range(4 * ORTHOGONAL_DRAWS)])
    assert ours.shape[1:] == theirs.shape[1:] == (shape.fan_out, shape.fan_in)
    for row, column in ((0, 0), (-1, -1), (0, -1), (-1, 0)):
        assert _agree(ours[:, row, column], theirs[:, row, column])
    # Two entries of one matrix, too: their joint law is that of rows or columns of norm 1.5.
    assert _agree(ours[:, 0, 0] * ours[:, 1, 1], theirs[:, 0, 0] * theirs[:, 1, 1])
    spectrum = np.linalg.svd(ours[0], compute_uv=False)
    np.testing.assert_allclose(spectrum, 1.5, rtol=1e-5)


# Closed forms

VARIANCES: Mapping[str, Callable[[int, int], float]] = {
    "zeros": lambda n, m: 0,
    "constant(value=0.3)": lambda n, m: 0,
    "random_normal": lambda n, m: 0.05**2,
    "random_normal(mean=0.5, stddev=0.1)": lambda n, m: 0.1**2,
    "random_uniform": lambda n, m: 0.1**2 / 12,
    "random_uniform(minval=-0.3, maxval=0.1)": lambda n, m: 0.4**2 / 12,
    "glorot_normal": lambda n, m: 2 / (n + m),
    "glorot_uniform": lambda n, m: 2 / (n + m),
    "xavier_normal": lambda n, m: 2 / (n + m),
    "xavier_normal(gain=1.5)": lambda n, m: 1.5**2 * 2 / (n + m),
    "he_normal": lambda n, m: 2 / n,
    "he_uniform": lambda n, m: 2 / n,
    "kaiming_normal": lambda n, m: 2 / n,
    "kaiming_normal(a=0.5)": lambda n, m: 2 / 1.25 / n,
    "kaiming_normal(mode=fan_out)": lambda n, m: 2 / m,
    "kaiming_normal(nonlinearity=tanh)": lambda n, m: 25 / 9 / n,
    "kaiming_normal(nonlinearity=selu)": lambda n, m: 9 / 16 / n,
    "lecun_normal": lambda n, m: 1 / n,
    "lecun_uniform": lambda n, m: 1 / n,
    "variance_scaling": lambda n, m: 1 / n,
    "variance_scaling(scale=3, mode=fan_out)": lambda n, m: 3 / m,
    "variance_scaling(scale=3, mode=fan_avg)": lambda n, m: 6 / (n + m),
    "variance_scaling(scale=3, distribution=uniform)": lambda n, m: 3 / n,
    "variance_scaling(scale=3, distribution=untruncated_normal)": lambda n, m: 3 / n,
    "orthogonal": lambda n, m: 1 / max(n, m),
    "orthogonal(gain=1.5)": lambda n, m: 2.25 / max(n, m),
    "torch_default": lambda n, m: 1 / (3 * n),
}


def test_every_record_has_a_closed_form_here() -> None:
    assert {scheme(text).record.name for text in VARIANCES} == set(INITIALIZERS)


@pytest.mark.parametrize("shape", [LayerShape(64, 32), LayerShape(7, 300), LayerShape(1, 1), LayerShape(64, 64)])
@pytest.mark.parametrize("text", VARIANCES)
def test_variance_of_the_law(text: str, shape: LayerShape) -> None:
    law = scheme(text).law(shape)
    assert law.variance == pytest.approx(VARIANCES[text](shape.fan_in, shape.fan_out), rel=1e-12, abs=0)


@pytest.mark.parametrize("shape", [LayerShape(64, 32), LayerShape(7, 300)])
@pytest.mark.parametrize("text", VARIANCES)
def test_drawn_moments_lie_within_five_standard_errors(text: str, shape: LayerShape) -> None:
    law = scheme(text).law(shape)
    source = generator(3, "weights")
    w = np.stack([scheme(text).draw(shape, source)[0].double().numpy() for _ in range(40)])
    if law.variance == 0:
        assert (w == np.float32(law.mean)).all()
        return
    # The entries of an orthogonal matrix are uncorrelated and its squares negatively correlated: no wider.
    assert abs(w.mean() - law.mean) < 5 * law.standard_deviation / math.sqrt(w.size)
    error = law.variance * math.sqrt(2 / w.size)  # kurtosis 3 at most
    assert abs(np.mean((w - law.mean) ** 2) - law.variance) < 5 * error + 1e-6 * law.variance


@pytest.mark.parametrize(
    ("name", "general"),
    [
        ("glorot_normal", "variance_scaling(mode=fan_avg)"),
        ("glorot_uniform", "variance_scaling(mode=fan_avg, distribution=uniform)"),
        ("xavier_normal", "variance_scaling(mode=fan_avg, distribution=untruncated_normal)"),
        ("xavier_normal(gain=1.5)", "variance_scaling(scale=2.25, mode=fan_avg, distribution=untruncated_normal)"),
        ("he_normal", "variance_scaling(scale=2)"),
        ("he_uniform", "variance_scaling(scale=2, distribution=uniform)"),
        ("kaiming_normal", "variance_scaling(scale=2, distribution=untruncated_normal)"),
        ("lecun_normal", "variance_scaling"),
        ("lecun_uniform", "variance_scaling(distribution=uniform)"),
        ("torch_default", f"variance_scaling(scale={1 / 3!r}, distribution=uniform)"),
    ],
)
def test_named_schemes_follow_from_variance_scaling(name: str, general: str) -> None:
    for shape in (LayerShape(64, 32), LayerShape(32, 64), LayerShape(10, 10)):
        ours, follows = scheme(name).law(shape), scheme(general).law(shape)
        assert type(ours) is type(follows)
        assert vars(ours) == pytest.approx(vars(follows), rel=1e-14)


def test_variance_scaling_draws_what_its_name_says() -> None:
    shape = LayerShape(50, 20)
    assert variance_scaling(2.0, "fan_in", "truncated_normal").law(shape) == laws.TruncatedNormal(math.sqrt(2 / 50))
    assert variance_scaling(2.0, "fan_out", "untruncated_normal").law(shape) == laws.Normal(0.0, math.sqrt(2 / 20))
    limit = math.sqrt(6 / 35)
    uniform = variance_scaling(2.0, "fan_avg", "uniform").law(shape)
    assert (uniform.minimum, uniform.maximum) == pytest.approx((-limit, limit), rel=1e-14)


def test_torch_default_is_what_a_linear_layer_draws() -> None:
    shape = LayerShape(16, 100_000)
    weight, bias = scheme("torch_default").draw(shape, generator(0, "weights"))
    with torch.random.fork_rng():
        torch.manual_seed(108)
        layer = torch.nn.Linear(shape.fan_in, shape.fan_out)
    assert bias.shape == layer.bias.shape
    assert _agree(bias.double().numpy(), layer.bias.detach().double().numpy())
    assert _agree(weight.double().numpy(), layer.weight.detach().double().numpy())
    law = scheme("torch_default").rule.bias
    assert law is not None
    assert (law(shape).minimum, law(shape).maximum) == (-0.25, 0.25)
    assert scheme("torch_default").law(shape).maximum == pytest.approx(0.25, rel=1e-14)
    # Weights and biases are drawn one after the other, not the same numbers twice.
    assert not torch.equal(weight.flatten()[: shape.fan_out].sort().values, bias.sort().values)


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name != "torch_default"])
def test_all_others_start_with_zero_biases(name: str) -> None:
    assert scheme(name).rule.bias is None
    _, bias = scheme(name).draw(LayerShape(4, 6), generator(0, "weights"))
    assert bias.shape == (6,)
    assert bias.dtype == torch.float32
    assert not bias.any()


@pytest.mark.parametrize("a", [0.0, 0.01, 0.5, math.sqrt(5), -2.0])
@pytest.mark.parametrize("nonlinearity", initializers._GAINS)
def test_gains_are_those_of_torch(nonlinearity: str, a: float) -> None:
    expected = torch_init.calculate_gain(nonlinearity, a)  # type: ignore[arg-type]
    assert initializers._GAINS[nonlinearity](a) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("nonlinearity", ["gelu", "silu", "elu", "mish", "softplus", "hardtanh", "softsign"])
def test_torch_has_no_gain_for_the_others(nonlinearity: str) -> None:
    with pytest.raises(ValueError, match="nsupported nonlinearity"):
        torch_init.calculate_gain(nonlinearity)  # type: ignore[arg-type]
    assert nonlinearity not in initializers._GAINS


# The catalogue


def test_the_catalogue_has_no_duplicates() -> None:
    names = [name for record in RECORDS for name in (record.name, *record.aliases)]
    assert len(names) == len(set(names))
    assert list(INITIALIZERS) == [record.name for record in RECORDS]
    with pytest.raises(ValueError, match="he_normal is used twice"):
        initializers._catalogue((INITIALIZERS["he_normal"], INITIALIZERS["he_normal"]))
    with pytest.raises(TypeError):
        INITIALIZERS["mine"] = INITIALIZERS["zeros"]  # type: ignore[index]


def test_the_catalogue_holds_every_name_of_the_vocabulary() -> None:
    fixed = {"zeros", "constant", "random_normal", "random_uniform", "glorot_normal", "glorot_uniform", "he_normal"}
    fixed |= {"he_uniform", "lecun_normal", "lecun_uniform", "orthogonal", "xavier_normal", "kaiming_normal"}
    assert fixed <= set(INITIALIZERS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_every_record_is_complete(record: initializers.Initializer) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", record.name)
    assert record.family in FAMILIES
    assert record.purpose.endswith(".")
    assert record.source
    assert set(record.code) == set(FRAMEWORKS)
    for parameter in record.parameters:
        assert parameter.help.endswith(".")
        assert parameter.check(parameter.default) == parameter.default
    assert scheme(record.name).text == record.name
    assert scheme(record.name).values == {parameter.name: parameter.default for parameter in record.parameters}


@pytest.mark.parametrize(("alias", "name"), [(alias, record.name) for record in RECORDS for alias in record.aliases])
def test_an_alias_is_understood_and_replaced(alias: str, name: str) -> None:
    assert alias not in INITIALIZERS
    assert scheme(alias).record is INITIALIZERS[name]
    assert initializers.canonical(alias) == FORM.read(f"{alias}()") == name


def test_known_aliases() -> None:
    assert initializers.canonical("xavier_uniform") == "glorot_uniform"
    assert initializers.canonical("kaiming_uniform") == "he_uniform"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", VARIANCES)
def test_code_is_filled_in_and_compiles(text: str, framework: str) -> None:
    for fans in ((12, 34), ("n_in", "n_out")):
        code = scheme(text).code(framework, *fans)
        assert "{" not in code
        assert "}" not in code
        ast.parse(code)
        names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        known = {"keras", "torch", "jax", "jnp", "key", "layer", "std", "fan_in", "fan_out", "n_in", "n_out", "float"}
        assert names <= known


# Formulas

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def _value(text: str, shape: LayerShape) -> float:
    """Return the value of a formula's side such as `2 / (fan_in + fan_out)` or `0.05^2`."""

    def walk(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return float(getattr(shape, name))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -walk(inner)
            case ast.BinOp(left=left, op=sign, right=right):
                return _OPERATORS[type(sign)](walk(left), walk(right))
            case ast.Call(func=ast.Name(id="max"), args=[first, second]):
                return max(walk(first), walk(second))
        raise AssertionError(f"not a formula: {text}")

    return walk(ast.parse(text.replace("^", "**"), mode="eval").body)


@pytest.mark.parametrize("shape", [LayerShape(64, 32), LayerShape(7, 300)])
@pytest.mark.parametrize("text", VARIANCES)
def test_every_side_of_a_formula_has_the_value_of_the_law(text: str, shape: LayerShape) -> None:
    bound = scheme(text)
    law, formula = bound.law(shape), bound.formula(shape)
    if isinstance(law, laws.Constant):
        assert _value(formula.text.removeprefix("every weight is "), shape) == law.value
    elif bound.record.name == "random_uniform":
        low, high = formula.text.removeprefix("uniform between ").split(" and ")
        assert (_value(low, shape), _value(high, shape)) == (law.minimum, law.maximum)
    else:
        before, sides = formula.text.split("variance ")
        values = [_value(side, shape) for side in sides.split(" = ")]
        assert len(values) >= 2
        assert values == pytest.approx([law.variance] * len(values), rel=1e-4)
        assert ("cut" in before) == isinstance(law, laws.TruncatedNormal)
        assert ("uniform" in before) == isinstance(law, laws.Uniform)


def _plain(latex: str) -> str:
    """Return a formula in LaTeX whose numbers are put in as one that `_value` reads."""
    text = re.sub(r"\\times 10\^\{(-?\d+)\}", r"* 10^(\1)", latex)
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1) / (\2)", text)
    return text.replace(r"\times", "*").strip()


@pytest.mark.parametrize("shape", [LayerShape(64, 32), LayerShape(7, 300)])
@pytest.mark.parametrize("text", VARIANCES)
def test_latex_has_the_numbers_put_in_and_ends_with_the_value_of_the_law(text: str, shape: LayerShape) -> None:
    bound = scheme(text)
    law, latex = bound.law(shape), bound.formula(shape).latex
    assert latex.count("{") == latex.count("}")
    assert not re.search("nan|fan_", latex)
    assert "inf" not in latex
    if isinstance(law, laws.Constant):
        assert _value(latex.removeprefix("w = "), shape) == law.value
        return
    *_, put_in, value = latex.split(" = ")
    assert _value(_plain(put_in).removeprefix(r"\sigma^2"), shape) == pytest.approx(law.variance, rel=1e-4)
    assert _value(_plain(value), shape) == pytest.approx(law.variance, rel=1e-4)


# Draws


@pytest.mark.parametrize("text", VARIANCES)
def test_draws_are_a_function_of_the_generator_alone(text: str) -> None:
    shape = LayerShape(6, 9, layer=3, depth=5)
    torch.manual_seed(1)
    weight, bias = scheme(text).draw(shape, generator(5, "weights", 3))
    torch.manual_seed(2)
    again, bias_again = scheme(text).draw(shape, generator(5, "weights", 3))
    assert weight.shape == (9, 6)
    assert weight.dtype == torch.float32
    assert torch.equal(weight, again)
    assert torch.equal(bias, bias_again)
    other, _ = scheme(text).draw(shape, generator(6, "weights", 3))
    assert torch.equal(weight, other) == (scheme(text).law(shape).variance == 0)


def test_streams_differ_by_seed_purpose_and_index() -> None:
    draws = [
        torch.rand(4, generator=generator(*key)).tolist()
        for key in [(0, "weights", 0), (0, "weights", 1), (1, "weights", 0), (0, "batches", 0), (1, "batches", 1)]
    ]
    assert len({tuple(draw) for draw in draws}) == len(draws)
    assert torch.equal(
        torch.rand(4, generator=generator(2**31 - 1, "weights")),
        torch.rand(4, generator=generator(2**31 - 1, "weights")),
    )


# Text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("he_norm", r"one of zeros, .* \(did you mean he_normal\?\)"),
        ("xavier_unifrm", r"did you mean xavier_uniform\?"),
        ("", "a name, or name"),
        ("he_normal(gain=2)", "he_normal with no parameters"),
        ("orthogonal(gian=2)", r"orthogonal with the parameters gain \(did you mean gain\?\)"),
        ("orthogonal(gain=nan)", "for gain a number from 0"),
        ("orthogonal(gain=-1)", "for gain a number from 0"),
        ("xavier_normal(gain=0)", "for gain a number above 0"),
        ("random_normal(stddev=-0.1)", "for stddev a number from 0"),
        ("random_normal(stddev=1e31)", "for stddev a number from 0"),
        ("random_uniform(minval=1, maxval=1)", "minval below maxval"),
        ("random_uniform(minval=0.2)", "minval below maxval"),
        ("variance_scaling(mode=fan)", "for mode one of fan_in, fan_out, fan_avg"),
        ("variance_scaling(distribution=normal)", "for distribution one of truncated_normal"),
        ("variance_scaling(scale=0)", "for scale a number "),
        ("kaiming_normal(nonlinearity=gelu)", "for nonlinearity one of linear, sigmoid"),
        ("zeros" + "x" * 300, "at most 300 characters"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        scheme(text)


def _values(parameter: Field) -> st.SearchStrategy[Any]:
    kind = parameter.kind
    if isinstance(kind, Choice):
        return st.sampled_from(kind.options)
    assert isinstance(kind, Real)
    return st.floats(kind.minimum, kind.maximum, exclude_min=kind.exclusive).map(lambda value: value + 0.0)


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    record = draw(st.sampled_from(RECORDS))
    values = {parameter.name: draw(_values(parameter)) for parameter in record.parameters}
    if record.name == "random_uniform":
        low, high = sorted(values.values())
        # The largest allowed number has no larger neighbour within the range: step down from it instead.
        if low >= high:
            low, high = (low, math.nextafter(low, math.inf)) if low < 1e30 else (math.nextafter(low, 0), low)
        values = {"minval": low, "maxval": high}
    inside = ", ".join(f"{p.name}={p.write(values[p.name])}" for p in record.parameters)
    return f"{record.name}({inside})", values


@given(_texts())
def test_texts_read_back_exactly(made: tuple[str, dict[str, Any]]) -> None:
    text, values = made
    bound = scheme(text)
    assert dict(bound.values) == values
    assert scheme(bound.text).values == bound.values
    assert scheme(bound.text).text == bound.text
    assert FORM.read(FORM.write(bound.text)) == bound.text


@settings(deadline=None)
@given(_texts(), st.integers(1, 1024), st.integers(1, 1024))
@example(("variance_scaling(scale=5e-324, distribution=uniform)", {}), 64, 64)
@example(("variance_scaling(scale=5e-324)", {}), 64, 64)
@example(("xavier_normal(gain=5e-324)", {}), 64, 64)
@example(("orthogonal(gain=5e-324)", {}), 64, 64)
@example(("random_normal(stddev=5e-324)", {}), 64, 64)
def test_whatever_is_accepted_has_a_law_a_formula_and_finite_draws(
    made: tuple[str, dict[str, Any]], fan_in: int, fan_out: int
) -> None:
    shape = LayerShape(fan_in, fan_out)
    try:
        bound = scheme(made[0])
    except Refused:
        assert not made[1]  # only the explicit examples may be refused
        return
    law = bound.law(shape)
    assert math.isfinite(law.mean)
    assert math.isfinite(law.variance)
    formula = bound.formula(shape)
    assert not re.search(r"\b(nan|inf)\b", formula.text + formula.latex)
    assert law.no_density or not np.isnan(law.density(np.array([law.mean + 0.1 * law.standard_deviation]))).any()
    few = law.sample((3, law.n) if isinstance(law, laws.Orthogonal) else (3, 2), generator(0, "weights"))
    assert few.isfinite().all()
    for framework in FRAMEWORKS:
        ast.parse(bound.code(framework, fan_in, fan_out))
