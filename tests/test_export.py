"""The code that is offered for PyTorch, Keras, JAX and Flax, run in each of them."""

from __future__ import annotations

import ast
import io
import itertools
import math
import os
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles in half the time

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import linen
from numpy.typing import NDArray
from scipy import stats

from winit import export, laws
from winit.fields import Refused
from winit.initializers import FRAMEWORKS, INITIALIZERS, LayerShape, scheme
from winit.initializers.biases import BIASES, bias_rule
from winit.seeds import generator

Array = NDArray[np.float64]

SMALLEST_P = 1e-5
SMALL = LayerShape(6, 4, layer=2, depth=3, activation="tanh")
SQUARE = LayerShape(64, 64, layer=2, depth=3, activation="tanh")
WIDE = LayerShape(40, 900, layer=2, depth=3, activation="tanh")
TALL = LayerShape(900, 40, layer=2, depth=3, activation="tanh")
OBLONG = LayerShape(120, 160, layer=2, depth=3, activation="tanh")

OTHERS = [
    "constant(value=1)",
    "constant(value=-0.3)",
    "random_normal(stddev=0)",
    "random_normal(stddev=1)",
    "random_normal(mean=-0.5, stddev=1e-05)",
    "random_normal(mean=0.5, stddev=1)",
    "random_uniform(minval=-1, maxval=2)",
    "random_uniform(minval=-0.3, maxval=-0.1)",
    "random_uniform(minval=0, maxval=0.01)",
    "truncated_normal(mean=0.1, stddev=0.1)",
    "truncated_normal(lower=-1, upper=3)",
    "truncated_normal(mean=-0.2, stddev=1, lower=0.5, upper=1)",
    "truncated_normal(lower=-20, upper=20)",
    "trunc_normal(std=0.02)",
    "trunc_normal(mean=0.1, std=0.05, a=0, b=0.2)",
    "trunc_normal(mean=1, std=0.5, a=-1, b=0.3)",
    "xavier_normal(gain=1.5)",
    "xavier_normal(gain=1e-08)",
    "kaiming_normal(a=-0.5)",
    "kaiming_normal(mode=fan_out, nonlinearity=relu)",
    "kaiming_normal(nonlinearity=tanh)",
    "kaiming_normal(a=0.25, mode=fan_out, nonlinearity=selu)",
    "orthogonal(gain=1.5)",
    "orthogonal(gain=0)",
    "identity(gain=-2)",
    "idinit(epsilon=0.01)",
    "looks_linear(gain=1.5)",
    "sparse(sparsity=0.33, std=1)",
    "sparse(sparsity=1)",
    "sparse_martens(connections=3)",
    "edge_of_chaos(sigma_b=0.2)",
    "siren(omega=1.5)",
    "lsuv(tolerance=0.01, rounds=3)",
    "custom(distribution=truncated_normal)",
    'custom(distribution=uniform, standard_deviation="sqrt(2/fan_in)/layer")',
    'custom(distribution=rademacher, standard_deviation="1/(depth*sqrt(fan_out))")',
    "custom(distribution=laplace)",
    "custom(distribution=student_t, nu=4.5)",
    "custom(distribution=two_point)",
]
OTHERS += [
    f"variance_scaling(scale={scale}, mode={mode}, distribution={distribution})"
    for scale in ("2", "0.3333333333333333", "1e-05")
    for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
    for distribution in ("truncated_normal", "untruncated_normal", "uniform")
]
TEXTS = [*INITIALIZERS, *OTHERS]
BIAS_TEXTS = ("scheme", "zeros", "constant(value=0.5)", "constant(value=1)", "normal(stddev=0.3)", "log_prior")


def _run(code: str, framework: str) -> tuple[Array, Array]:
    """Run a snippet and return the weights (fan_out, fan_in) and the biases that it makes."""
    names: dict[str, Any] = {}
    with torch.random.fork_rng():  # puts torch's global generator back: the snippets seed it
        exec(compile(code, f"<{framework}>", "exec"), names)
    match framework:
        case "torch":
            assert isinstance(names["layer"], torch.nn.Linear)
            found = names["layer"].weight, names["layer"].bias
        case "keras":
            assert isinstance(names["layer"], keras.layers.Dense)
            found = names["layer"].kernel.value.T, names["layer"].bias.value
        case "jax":
            found = names["weight"].T, names["bias"]
        case _:
            assert isinstance(names["layer"], linen.Dense)
            found = names["params"]["kernel"].T, names["params"]["bias"]
    arrays = [one.detach().numpy() if isinstance(one, torch.Tensor) else np.asarray(one) for one in found]
    assert all(array.dtype == np.float32 for array in arrays)
    return arrays[0].astype(np.float64), arrays[1].astype(np.float64)


# What is asked of the numbers

# Keras on torch takes the first of four normal draws that lies within two standard deviations, and the first of
# all where none does: a few weights in a million lie outside (keras.src.backend.torch.random.truncated_normal).
KERAS_STRAY_SHARE = (2 * stats.norm.sf(2)) ** 4


def _check(law: laws.Law, values: Array, framework: str) -> None:
    """Hold drawn values against their law: atoms by their share, the rest by its distribution function."""
    if law.variance == 0:
        np.testing.assert_array_equal(values, np.float64(np.float32(law.mean)))
        return
    scale, count = law.standard_deviation, values.size
    rounding = float(np.finfo(np.float32).eps) * (abs(law.mean) + scale)
    assert abs(values.mean() - law.mean) < 5 * scale / math.sqrt(count) + rounding
    if math.isfinite(law.kurtosis):
        error = scale * math.sqrt(max(law.kurtosis - 1, 0.0) / (4 * count))
        assert abs(math.sqrt(np.mean((values - law.mean) ** 2)) - scale) < 5 * error + 1e-6 * scale + rounding
    outside = np.count_nonzero((values < law.minimum - 4 * rounding) | (values > law.maximum + 4 * rounding))
    strays = KERAS_STRAY_SHARE * count if framework == "keras" and isinstance(law, laws.TruncatedNormal) else 0.0
    assert outside <= stats.poisson(strays).ppf(1 - SMALLEST_P)

    spread = np.ones(values.shape, dtype=bool)
    for value, share in law.atoms:
        there = values == np.float32(value)
        assert abs(np.count_nonzero(there) - count * share) < 5 * math.sqrt(count * share * (1 - share)) + 1e-6
        spread &= ~there
    left = 1 - sum(share for _, share in law.atoms)
    if left < 1e-9:
        assert not spread.any()
        return

    def cumulative(x: Array) -> Array:
        on_atoms = sum((share * (x >= value) for value, share in law.atoms), np.zeros_like(x))
        return (law.cumulative(x) - on_atoms) / left

    if rounding < 1e-3 * scale and not np.isnan(law.cumulative(np.zeros(1))).any():
        assert stats.kstest(values[spread], cumulative, method="asymp").pvalue > SMALLEST_P


def _check_matrix(text: str, shape: LayerShape, weights: Array, framework: str) -> None:
    """Hold a weight matrix against its scheme: entry by entry, and in what its entries have to do with each other."""
    bound = scheme(text)
    assert weights.shape == (shape.fan_out, shape.fan_in)
    law = bound.law(shape)
    ours = [bound.weights(shape, generator(seed, "weights"))[0].double().numpy() for seed in (0, 1)]
    if (ours[0] == ours[1]).all():
        np.testing.assert_array_equal(weights, ours[0])
        return
    match bound.record.name:
        case "orthogonal":
            _check_orthogonal(weights, bound.values["gain"])
        case "looks_linear":
            a = weights
            if not shape.is_output:
                a, mirrored = np.split(a, 2)
                np.testing.assert_array_equal(mirrored, -a)
            if not shape.is_first:
                a, mirrored = np.split(a, 2, axis=1)
                np.testing.assert_array_equal(mirrored, -a)
            _check_orthogonal(a, bound.values["gain"])
            weights = a
        case "lsuv":
            # Orthogonal up to a factor, with unit variance for the standard normal inputs that stand in for data.
            size = math.sqrt((weights**2).sum() / min(weights.shape))
            _check_orthogonal(weights / size, 1.0)
            assert abs((weights**2).sum(axis=1).mean() - 1) < bound.values["tolerance"] + 0.05
            return
        case "nguyen_widrow":
            length = 0.7 * shape.fan_out ** (1 / shape.fan_in)
            np.testing.assert_allclose(np.linalg.norm(weights, axis=1), length, rtol=1e-6)
            assert stats.ks_2samp(weights.ravel(), ours[0].ravel(), method="asymp").pvalue > SMALLEST_P
        case "sparse":
            zeros = math.ceil(bound.values["sparsity"] * shape.fan_out)
            np.testing.assert_array_equal((weights == 0).sum(axis=0), zeros)
        case "sparse_martens":
            kept = min(bound.values["connections"], shape.fan_in)
            np.testing.assert_array_equal((weights != 0).sum(axis=1), kept)
        case "idinit":
            np.testing.assert_array_equal(weights != 0, ours[0] != 0)
    _check(law, weights, framework)


def _check_orthogonal(matrix: Array, gain: float) -> None:
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(short @ short.T, gain**2 * np.eye(len(short)), atol=5e-6 * gain**2)


def _check_biases(text: str, shape: LayerShape, biases: Array, framework: str) -> None:
    assert biases.shape == (shape.fan_out,)
    law = scheme(text).bias(shape)
    _check(laws.Constant(0.0) if law is None else law, biases, framework)


def _check_snippet(text: str, framework: str, shape: LayerShape, seed: int = 5) -> None:
    weights, biases = _run(export.snippet(text, framework, shape, seed), framework)
    _check_matrix(text, shape, weights, framework)
    _check_biases(text, shape, biases, framework)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", INITIALIZERS)
@pytest.mark.parametrize("shape", [SQUARE, WIDE, TALL], ids=["square", "wide", "tall"])
def test_snippet_makes_a_layer_with_the_law_of_the_initializer(text: str, framework: str, shape: LayerShape) -> None:
    """A layer that widens and one that narrows tell the fans apart."""
    _check_snippet(text, framework, shape)


@pytest.mark.sampled(7)
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", OTHERS)
def test_snippet_follows_the_parameters(text: str, framework: str) -> None:
    _check_snippet(text, framework, OBLONG)


FIRST, LAST = LayerShape(64, 96, 1, 3, "tanh"), LayerShape(96, 64, 4, 3, "tanh")
PLACED = [
    (text, shape)
    for text in ("siren", "looks_linear", 'custom(standard_deviation="layer/(depth*sqrt(fan_in))")')
    for shape in (FIRST, LAST, LayerShape(5, 3, 1, 0, "tanh"))
]
ACTIVATED = [
    (text, LayerShape(64, 96, 2, 3, activation))
    for text in ("kumar", "edge_of_chaos", "edge_of_chaos(sigma_b=0.3)", "random_walk", "sklearn_default", "custom")
    for activation in ("relu", "sigmoid", "gelu")
]


def _answers(text: str, shape: LayerShape) -> bool:
    try:
        scheme(text).law(shape)
    except Refused:
        return False
    return True


PLACES = [(text, shape) for text, shape in (*PLACED, *ACTIVATED) if _answers(text, shape)]


def test_most_places_have_an_answer() -> None:
    assert len(PLACES) >= 22


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize(("text", "shape"), PLACES)
def test_snippet_knows_place_and_activation(text: str, shape: LayerShape, framework: str) -> None:
    _check_snippet(text, framework, shape)


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", TEXTS)
def test_snippet_makes_the_law_everywhere(text: str, framework: str) -> None:
    """At every place, with every activation and side by side in all shapes; what is written alike runs once."""
    ran = set()
    sides = ((64, 64), (128, 48), (30, 200))
    activations = ("relu", "tanh", "sigmoid", "selu", "sine")
    for (fan_in, fan_out), (layer, depth), activation in itertools.product(
        sides, ((1, 3), (2, 3), (4, 3)), activations
    ):
        shape = LayerShape(fan_in, fan_out, layer, depth, activation)
        if _answers(text, shape) and (code := export.snippet(text, framework, shape, 11)) not in ran:
            ran.add(code)
            _check_snippet(text, framework, shape, 11)
    assert ran


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_snippet_of_one_unit_and_of_the_last_seed(framework: str) -> None:
    for text in INITIALIZERS:
        shape = LayerShape(1, 1, 1, 0, "tanh")
        weights, biases = _run(export.snippet(text, framework, shape, 2**31 - 1), framework)
        assert weights.shape == (1, 1)
        assert np.isfinite(weights).all()
        assert np.isfinite(biases).all()


# Chance


@pytest.mark.sampled(3)
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", INITIALIZERS)
def test_snippet_is_repeatable_and_depends_on_its_seed(text: str, framework: str) -> None:
    first, again, other = (_run(export.snippet(text, framework, SMALL, seed), framework) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    ours = [scheme(text).draw(SMALL, generator(seed, "weights")) for seed in (0, 1)]
    for part in (0, 1):
        assert (first[part] != other[part]).any() == bool((ours[0][part] != ours[1][part]).any())


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", ["random_normal", "idinit(epsilon=1)"])
def test_weights_and_biases_share_no_chance(text: str, framework: str) -> None:
    """Drawn from one seed alike, they would be the same numbers but for their scale."""
    weights, biases = _run(export.snippet(text, framework, LayerShape(1, 200), 3, "normal(stddev=1)"), framework)
    assert abs(np.corrcoef(weights[:, 0], biases)[0, 1]) < 0.35


@pytest.mark.parametrize("bias", ["scheme", "normal(stddev=0.3)"])
def test_no_key_is_used_twice(bias: str) -> None:
    with jax.debug_key_reuse(True):
        for text in INITIALIZERS:
            exec(compile(export.snippet(text, "jax", SMALL, 0, bias), "<jax>", "exec"), {})


def test_the_key_check_sees_a_key_used_twice() -> None:
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        exec("import jax\nk = jax.random.key(0)\njax.random.normal(k)\njax.random.normal(k)", {})


def test_torch_default_leaves_the_layer_untouched() -> None:
    weights, biases = _run(export.snippet("torch_default", "torch", SQUARE, 9), "torch")
    with torch.random.fork_rng():
        torch.manual_seed(9)
        layer = torch.nn.Linear(SQUARE.fan_in, SQUARE.fan_out)
    np.testing.assert_array_equal(weights, layer.weight.detach().double().numpy())
    np.testing.assert_array_equal(biases, layer.bias.detach().double().numpy())
    without = _run(export.snippet("torch_default", "torch", SQUARE, 9, "zeros"), "torch")
    np.testing.assert_array_equal(without[0], weights)
    np.testing.assert_array_equal(without[1], 0.0)


# Biases

OWN_BIAS = ["torch_default", "sklearn_default", "edge_of_chaos(sigma_b=0.2)", "randomized_asymmetric", "nguyen_widrow"]
OWN_BIAS += ["playground_default"]


def test_schemes_with_biases_of_their_own() -> None:
    names = {text.partition("(")[0] for text in OWN_BIAS}
    assert names == {record.name for record in INITIALIZERS.values() if record.code.bias}
    for text in TEXTS:
        assert (scheme(text).bias(OBLONG) is None) == (not scheme(text).record.code.bias)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", OWN_BIAS)
def test_biases_follow_the_scheme(text: str, framework: str) -> None:
    shape = LayerShape(8, 4000, 2, 3, "tanh")
    _, biases = _run(export.snippet(text, framework, shape, 21), framework)
    _check_biases(text, shape, biases, framework)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", ["he_normal", "identity", *OWN_BIAS])
@pytest.mark.parametrize("bias", BIAS_TEXTS[1:])
def test_a_rule_for_the_biases_overrides_the_scheme(text: str, framework: str, bias: str) -> None:
    shape = LayerShape(8, 1000, 2, 3, "tanh")
    code = export.snippet(text, framework, shape, 22, bias)
    weights, biases = _run(code, framework)
    _check_matrix(text, shape, weights, framework)
    rule = bias_rule(bias)
    law = rule.record.law(**rule.values) if rule.record.law else laws.Constant(0.0)
    _check(law, biases, framework)
    assert ("# log_prior" in code) == (bias == "log_prior")


def test_every_rule_for_biases_is_tried_here() -> None:
    assert {bias_rule(text).record.name for text in BIAS_TEXTS} == set(BIASES)


@pytest.mark.parametrize("bias", ["normal(stddev=0)", "constant(value=0)", "zeros"])
def test_biases_that_are_zero_are_written_as_such(bias: str) -> None:
    assert "zeros_(layer.bias)" in export.line("he_normal", "torch", SQUARE, bias)
    assert "bias" not in export.line("he_normal", "keras", SQUARE, bias)
    assert "bias = jnp.zeros(64)" in export.line("he_normal", "jax", SQUARE, bias)
    assert "bias" not in export.line("torch_default", "flax", SQUARE, bias)


# How the code looks


@pytest.fixture(scope="module")
def everything() -> set[str]:
    """Snippets of all texts above, in small and large layers, at all places, with all rules for biases."""
    shapes = [SMALL, FIRST, LAST, LayerShape(1024, 1023, 1, 0, "sigmoid")]
    cases = [(text, shape, "scheme") for text, shape in itertools.product(TEXTS, shapes)]
    cases += [(text, OBLONG, bias) for text, bias in itertools.product(INITIALIZERS, BIAS_TEXTS)]
    return {
        export.snippet(text, framework, shape, 12345, bias)
        for text, shape, bias in cases
        if _answers(text, shape)
        for framework in FRAMEWORKS
    }


def test_code_is_written_as_ruff_writes_it(everything: set[str], tmp_path: Path) -> None:
    """No unused imports or names, imports in order, lines within 100 characters, and Black's style."""
    for number, code in enumerate(everything):
        (tmp_path / f"snippet_{number}.py").write_text(code)
    common = ["--isolated", "--line-length=100", "--no-cache", str(tmp_path)]
    for command in (["check", "--select=E,F,W,I,UP,B,N,C4,SIM,RET", "--ignore=E731"], ["format", "--diff"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *common], capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


def test_code_parses_and_shows_no_rounding_noise(everything: set[str]) -> None:
    """A scale is 2, not 2.0000000000000004, and a bound -0.1, not -0.10000000000000003."""
    for code in everything:
        ast.parse(code)
        assert code.endswith("\n")
        assert not code.endswith("\n\n")
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.NUMBER and token.string != repr(laws.TRUNCATED_STDDEV):
                assert len(token.string.lstrip("0.").replace(".", "")) <= 12, code


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", TEXTS)
def test_line_is_part_of_the_snippet(text: str, framework: str) -> None:
    for bias in BIAS_TEXTS:
        snippet = export.snippet(text, framework, OBLONG, 12345, bias)
        for part in export.line(text, framework, OBLONG, bias).split("\n\n\n"):
            assert part in snippet
        assert snippet.count("12345") == sum(
            snippet.count(seed) for seed in ("_seed(", "default_rng(", "jax.random.key(")
        )


def test_lines_as_they_are_shown() -> None:
    shape = LayerShape(64, 32)
    assert export.line("he_normal", "keras", shape) == (
        "layer = keras.layers.Dense(32, kernel_initializer=keras.initializers.HeNormal())"
    )
    assert export.line("xavier_uniform", "torch", shape) == (
        "torch.nn.init.xavier_uniform_(layer.weight)\ntorch.nn.init.zeros_(layer.bias)"
    )
    assert export.line("he_normal", "jax", shape) == (
        "weight = jax.nn.initializers.he_normal()(key, (64, 32))\nbias = jnp.zeros(32)"
    )
    assert export.line("he_normal", "flax", shape) == "layer = nn.Dense(32, kernel_init=nn.initializers.he_normal())"
    assert export.line("torch_default", "torch", shape) == "layer = torch.nn.Linear(64, 32)"
    assert export.line("playground_default", "flax", shape) == (
        "layer = nn.Dense(\n"
        "    32,\n"
        "    kernel_init=lambda key, shape, dtype: jax.random.uniform(\n"
        "        key, shape, dtype, minval=-0.5, maxval=0.5\n"
        "    ),\n"
        "    bias_init=nn.initializers.constant(0.1),\n"
        ")"
    )
    assert export.line("playground_default", "jax", shape) == (
        "weight = jax.random.uniform(key, (64, 32), minval=-0.5, maxval=0.5)\nbias = jnp.full(32, 0.1)"
    )
    assert export.line("identity", "jax", shape) == "weight = jnp.eye(64, 32)\nbias = jnp.zeros(32)"
    assert export.line("identity(gain=2)", "torch", shape).startswith("layer.weight.data.copy_(2 * torch.eye(32, 64))")


def test_a_function_comes_only_where_the_library_lacks_the_scheme() -> None:
    assert "def " not in export.snippet("sparse", "torch", SQUARE, 0)
    assert "def sparse(" in export.snippet("sparse", "keras", SQUARE, 0)
    for text in ("truncated_normal(lower=-1)", "trunc_normal(mean=0.1, a=-1)"):
        assert "def " in export.snippet(text, "keras", SQUARE, 0)
        for framework in ("torch", "jax", "flax"):
            assert "def " not in export.snippet(text, framework, SQUARE, 0)
    assert "RandomNormal" in export.line("trunc_normal(std=0.02)", "keras", SQUARE)


def test_what_is_typed_stands_in_a_comment_in_one_style() -> None:
    for distribution in ("normal", "uniform", "truncated_normal", "laplace"):
        text = f'custom(distribution={distribution}, standard_deviation="  sqrt( 2/(fan_in))")'
        assert "std = 0.176776695297  # sqrt(2 / fan_in)\n" in export.snippet(text, "torch", SQUARE, 0)


def test_labels_name_every_framework() -> None:
    assert tuple(export.LABELS) == FRAMEWORKS


@pytest.mark.parametrize("text", ["", "he_norm", "he_normal(gain=1)", "random_normal(stddev=nan)", "import os"])
def test_bad_initializers_and_rules_are_refused(text: str) -> None:
    for framework in FRAMEWORKS:
        for initializer, bias in ((text, "scheme"), ("he_normal", text)):
            with pytest.raises(Refused):
                export.line(initializer, framework, SQUARE, bias)
            with pytest.raises(Refused):
                export.snippet(initializer, framework, SQUARE, 0, bias)


@pytest.mark.parametrize(
    ("text", "shape"),
    [("kumar", LayerShape(4, 4)), ("looks_linear", LayerShape(5, 4, 2, 2)), ("edge_of_chaos(sigma_b=1)", SMALL)],
)
def test_layers_without_an_answer_are_refused(text: str, shape: LayerShape) -> None:
    shape = LayerShape(shape.fan_in, shape.fan_out, shape.layer, shape.depth, "relu")
    for framework in FRAMEWORKS:
        with pytest.raises(Refused):
            export.line(text, framework, shape)
        with pytest.raises(Refused):
            export.snippet(text, framework, shape, 0)


def test_an_unknown_framework_is_an_error() -> None:
    with pytest.raises(KeyError, match="numpy"):
        export.line("he_normal", "numpy", SQUARE)


def test_jax_draws_what_the_flax_layer_draws_from_the_same_initializer() -> None:
    """Both texts come from one, so that a lambda and its body with the shape put in must agree."""
    for text in TEXTS:
        line = export.line(text, "flax", OBLONG)
        if "lambda" not in line or "def " in line:
            continue
        names: dict[str, Any] = {"jax": jax, "jnp": jnp, "nn": linen, "key": jax.random.key(4)}
        exec(line, names)
        exec(export.line(text, "jax", OBLONG).splitlines()[0], names)
        made = names["layer"].kernel_init(jax.random.key(4), (OBLONG.fan_in, OBLONG.fan_out), jnp.float32)
        np.testing.assert_array_equal(np.asarray(made), np.asarray(names["weight"]))
