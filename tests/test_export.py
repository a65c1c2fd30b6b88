"""The code that is offered for Keras, PyTorch and JAX, run in each of them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from winit import export, laws
from winit.fields import Refused
from winit.initializers import FRAMEWORKS, INITIALIZERS, LayerShape, scheme

Array = NDArray[np.float64]

SHAPE = LayerShape(300, 250)
SMALLEST_P = 1e-5
OTHERS = [
    "constant(value=1)",
    "constant(value=-0.3)",
    "random_normal(stddev=0)",
    "random_normal(stddev=1)",
    "random_normal(mean=-0.5, stddev=1e-05)",
    "random_uniform(minval=-1, maxval=2)",
    "random_uniform(minval=-0.3, maxval=-0.1)",
    "xavier_normal(gain=1.5)",
    "xavier_normal(gain=1e-08)",
    "kaiming_normal(a=-0.5)",
    "kaiming_normal(mode=fan_out, nonlinearity=relu)",
    "kaiming_normal(nonlinearity=tanh)",
    "kaiming_normal(a=0.25, mode=fan_out, nonlinearity=selu)",
    "orthogonal(gain=1.5)",
    "orthogonal(gain=0)",
]
OTHERS += [
    f"variance_scaling(scale={scale}, mode={mode}, distribution={distribution})"
    for scale in ("2", "1e-05")
    for mode in ("fan_in", "fan_out", "fan_avg")
    for distribution in ("truncated_normal", "untruncated_normal", "uniform")
]
TEXTS = [*INITIALIZERS, *OTHERS]


@contextlib.contextmanager
def _own_randomness() -> Iterator[None]:
    """Put torch's global generator back: the snippets seed it."""
    with torch.random.fork_rng():
        yield


def _run(code: str, framework: str) -> tuple[Array, Array | None]:
    """Run a snippet and return the kernel (fan_in, fan_out) and the biases, None where it makes none."""
    names: dict[str, Any] = {}
    with _own_randomness():
        exec(compile(code, f"<{framework}>", "exec"), names)
    if framework == "jax":
        assert names["weight"].dtype == jnp.float32
        bias = names.get("bias")
        return np.asarray(names["weight"], dtype=np.float64), None if bias is None else np.asarray(bias, np.float64)
    layer = names["layer"]
    if framework == "torch":
        assert isinstance(layer, torch.nn.Linear)
        weight, bias = layer.weight.mT, layer.bias
    else:
        assert isinstance(layer, keras.layers.Dense)
        weight, bias = layer.kernel.value, layer.bias.value
    assert weight.dtype == torch.float32
    return weight.detach().double().numpy(), bias.detach().double().numpy()


# Keras on torch takes the first of four normal draws that lies within two standard deviations, and the first of
# all where none does: a few weights in a million lie outside (keras.src.backend.torch.random.truncated_normal).
KERAS_STRAY_SHARE = (2 * stats.norm.sf(2)) ** 4


def _check(law: laws.Law, values: Array, framework: str) -> None:
    """Hold drawn values against their law: exactly where there is no chance, else to five standard errors."""
    if law.variance == 0:
        np.testing.assert_array_equal(values, np.float64(np.float32(law.mean)))
        return
    scale, count = law.standard_deviation, values.size
    if isinstance(law, laws.Orthogonal):
        product = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
        np.testing.assert_allclose(product, law.gain**2 * np.eye(len(product)), atol=3e-6 * law.gain**2)
        # The squares add up exactly; the mean of n uncorrelated entries is what chance is left.
        assert abs(values.mean()) < 5 * scale / math.sqrt(count)
        return
    reference, kurtosis = {
        laws.Normal: (stats.norm(), 3.0),
        laws.TruncatedNormal: (stats.truncnorm(-2, 2, scale=1 / laws.TRUNCATED_STDDEV), 3.0),
        laws.Uniform: (stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)), 1.8),
    }[type(law)]
    rounding = float(np.finfo(np.float32).eps) * (abs(law.mean) + scale)
    assert abs(values.mean() - law.mean) < 5 * scale / math.sqrt(count) + rounding
    assert abs(values.std() - scale) < 5 * scale * math.sqrt((kurtosis - 1) / (4 * count)) + rounding
    outside = np.count_nonzero((values < law.minimum - 4 * rounding) | (values > law.maximum + 4 * rounding))
    if framework == "keras" and isinstance(law, laws.TruncatedNormal):
        assert outside <= stats.poisson(KERAS_STRAY_SHARE * count).ppf(1 - SMALLEST_P)
    else:
        assert outside == 0
    if rounding < 1e-4 * scale:
        assert stats.kstest((values.ravel() - law.mean) / scale, reference.cdf, method="asymp").pvalue > SMALLEST_P


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", TEXTS)
def test_snippet_makes_a_layer_with_the_law_of_the_initializer(text: str, framework: str) -> None:
    bound = scheme(text)
    weight, bias = _run(export.snippet(text, framework, SHAPE, 5), framework)
    assert weight.shape == (SHAPE.fan_in, SHAPE.fan_out)
    _check(bound.law(SHAPE), weight, framework)
    if bound.rule.bias is not None:
        assert bias is not None
        _check(bound.rule.bias(SHAPE), bias, framework)
    elif bias is None:
        assert framework == "jax"
    else:
        np.testing.assert_array_equal(bias, np.zeros(SHAPE.fan_out))
    if bias is not None:
        assert bias.shape == (SHAPE.fan_out,)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", INITIALIZERS)
@pytest.mark.parametrize("shape", [LayerShape(40, 900), LayerShape(900, 40)], ids=["wide", "tall"])
def test_snippet_counts_the_fans_the_right_way_round(text: str, framework: str, shape: LayerShape) -> None:
    weight, _ = _run(export.snippet(text, framework, shape, 6), framework)
    assert weight.shape == (shape.fan_in, shape.fan_out)
    _check(scheme(text).law(shape), weight, framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", ["he_normal", "random_uniform", "orthogonal", "torch_default"])
def test_snippet_is_repeatable_and_depends_on_its_seed(text: str, framework: str) -> None:
    shape = LayerShape(6, 4)
    first, bias = _run(export.snippet(text, framework, shape, 7), framework)
    again, bias_again = _run(export.snippet(text, framework, shape, 7), framework)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(bias, bias_again)
    other, _ = _run(export.snippet(text, framework, shape, 8), framework)
    assert (first != other).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_snippet_of_one_unit_and_of_the_last_seed(framework: str) -> None:
    for text in INITIALIZERS:
        weight, _ = _run(export.snippet(text, framework, LayerShape(1, 1), 2**31 - 1), framework)
        assert weight.shape == (1, 1)
        assert np.isfinite(weight).all()


@pytest.mark.parametrize("text", ["he_normal", "torch_default", "random_normal", "random_uniform"])
def test_jax_uses_no_key_twice(text: str) -> None:
    code = export.snippet(text, "jax", LayerShape(6, 4), 0)
    with jax.debug_key_reuse(True):
        exec(compile(code, "<jax>", "exec"), {})


def test_the_key_check_sees_a_key_used_twice() -> None:
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        exec("import jax\nk = jax.random.key(0)\njax.random.normal(k)\njax.random.normal(k)", {})


def test_snippet_of_torch_default_agrees_with_the_untouched_layer() -> None:
    weight, bias = _run(export.snippet("torch_default", "torch", SHAPE, 9), "torch")
    with _own_randomness():
        torch.manual_seed(9)
        layer = torch.nn.Linear(SHAPE.fan_in, SHAPE.fan_out)
        layer.reset_parameters()
    np.testing.assert_array_equal(weight.T, layer.weight.detach().double().numpy())
    np.testing.assert_array_equal(bias, layer.bias.detach().double().numpy())


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", TEXTS)
def test_line_is_part_of_the_snippet(text: str, framework: str) -> None:
    line = export.line(text, framework, SHAPE.fan_in, SHAPE.fan_out)
    snippet = export.snippet(text, framework, SHAPE, 12345)
    assert line in snippet
    assert "12345" in snippet
    assert snippet.endswith("\n")
    assert not snippet.endswith("\n\n")
    assert max(map(len, snippet.splitlines())) <= 240


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("text", INITIALIZERS)
def test_line_takes_names_for_the_fans(text: str, framework: str) -> None:
    line = export.line(text, framework, "n_in", "n_out")
    names: dict[str, Any] = {"n_in": 300, "n_out": 250, "keras": keras, "torch": torch, "jax": jax, "jnp": jnp}
    names |= {"key": jax.random.key(3), "layer": torch.nn.Linear(300, 250)}
    *statements, last = line.splitlines()
    with _own_randomness():
        torch.manual_seed(3)
        exec("\n".join(statements), names)
        made = eval(last, names)
    if framework == "keras":
        made.build((None, 300))
        weight = made.kernel.value.detach().double().numpy()
    elif framework == "torch":
        weight = names["layer"].weight.detach().double().numpy().T
    else:
        weight = np.asarray(made, dtype=np.float64)
    _check(scheme(text).law(SHAPE), weight, framework)


def test_lines_as_they_are_shown() -> None:
    assert export.line("he_normal", "keras", 64, 32) == (
        "keras.layers.Dense(32, kernel_initializer=keras.initializers.HeNormal())"
    )
    assert export.line("xavier_uniform", "torch", 64, 32) == "torch.nn.init.xavier_uniform_(layer.weight)"
    assert export.line("he_normal", "jax", 64, 32) == "jax.nn.initializers.he_normal()(key, (64, 32))"
    assert export.line("torch_default", "torch", 64, 32) == "layer.reset_parameters()"


def test_code_shows_no_rounding_noise() -> None:
    """kaiming_normal's scale is 2, not 2.0000000000000004."""
    for framework in FRAMEWORKS:
        assert "0000000" not in export.line("kaiming_normal", framework, 64, 64)


def test_labels_name_every_framework() -> None:
    assert tuple(export.LABELS) == FRAMEWORKS


@pytest.mark.parametrize("text", ["", "he_norm", "he_normal(gain=1)", "random_normal(stddev=nan)", "import os"])
def test_bad_initializers_are_refused(text: str) -> None:
    for framework in FRAMEWORKS:
        with pytest.raises(Refused):
            export.line(text, framework, 4, 4)
        with pytest.raises(Refused):
            export.snippet(text, framework, LayerShape(4, 4), 0)


def test_an_unknown_framework_is_an_error() -> None:
    with pytest.raises(KeyError, match="numpy"):
        export.line("he_normal", "numpy", 4, 4)
