"""The translator against the libraries that it speaks of: each law is drawn by the library itself."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles in half the time

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import linen, nnx
from numpy.typing import NDArray
from scipy import stats
from sklearn.neural_network import MLPClassifier

from winit import export, laws, theory
from winit.activations import activation
from winit.initializers import FRAMEWORKS, LayerShape, canonical, scheme
from winit.seeds import generator
from winit.translator import LABELS, TRANSLATIONS, Translation, explain

Array = NDArray[np.float64]
Reference = Callable[[int, int], Any]
"""(fan_in, fan_out) -> the weights that the library draws, in any shape; matrices are (fan_out, fan_in)."""

SHAPE = LayerShape(160, 256)
"""40,960 weights, with fans that differ and divide by a kernel of 2 x 2 and by four gates."""
SMALLEST_P = 0.001

torch_init, keras_init, jax_init = torch.nn.init, keras.initializers, jax.nn.initializers


def _torch(fill: Callable[..., Any], **options: Any) -> Reference:
    return lambda fan_in, fan_out: fill(torch.empty(fan_out, fan_in), **options)


def _keras(make: Callable[..., Any], **options: Any) -> Reference:
    return lambda fan_in, fan_out: make(seed=41, **options)((fan_in, fan_out)).T


def _jax(initializer: Callable[..., Any]) -> Reference:
    return lambda fan_in, fan_out: initializer(jax.random.key(42), (fan_in, fan_out)).T


def _torch_rnns(hidden: int, _: int) -> Any:
    rnns = (torch.nn.RNN(3, hidden), torch.nn.GRU(3, hidden), torch.nn.LSTM(3, hidden))
    return torch.cat([rnn.weight_hh_l0 for rnn in rnns])


def _keras_layer(layer: Any, *shape: int | None) -> Any:
    keras.utils.set_random_seed(43)
    layer.build(shape)
    return layer


def _keras_lstm(fan_in: int, fan_out: int) -> Any:
    return _keras_layer(keras.layers.LSTM(fan_out // 4), None, 5, fan_in)


def _flax(module: linen.Module, *inputs: Any) -> Any:
    return module.init(jax.random.key(44), *inputs)["params"]


def _flax_lstm(hidden: int) -> Any:
    cell = linen.LSTMCell(hidden)
    carry = cell.initialize_carry(jax.random.key(45), (1, 3))
    return _flax(cell, carry, jnp.zeros((1, 3)))


def _mlp(activation: str) -> Callable[[int, int], tuple[Array, Array]]:
    def draw(fan_in: int, fan_out: int) -> tuple[Array, Array]:
        model = MLPClassifier(activation=activation)
        model._random_state = np.random.RandomState(46)
        weights, biases = model._init_coef(fan_in, fan_out, np.float64)
        return weights.T, biases

    return draw


REFERENCES: Mapping[str, Reference] = {
    "torch_linear": lambda n, m: torch.nn.Linear(n, m).weight,
    "torch_conv2d": lambda n, m: torch.nn.Conv2d(n // 4, m, 2).weight.reshape(m, n),
    "torch_conv_transpose2d": lambda n, m: torch.nn.ConvTranspose2d(n, m // 4, 2).weight.reshape(n, m).T,
    "torch_embedding": lambda n, m: torch.nn.Embedding(n, m).weight.T,
    "torch_rnn_recurrent": _torch_rnns,
    "torch_rnn_input": lambda n, m: torch.nn.RNN(n, m).weight_ih_l0,
    "torch_multihead_attention": lambda n, m: torch.nn.MultiheadAttention(n, 8).in_proj_weight,
    "torch_kaiming_uniform": _torch(torch_init.kaiming_uniform_),
    "torch_kaiming_uniform_sqrt5": _torch(torch_init.kaiming_uniform_, a=5**0.5),
    "torch_kaiming_uniform_linear": _torch(torch_init.kaiming_uniform_, nonlinearity="linear"),
    "torch_kaiming_normal": _torch(torch_init.kaiming_normal_),
    "torch_kaiming_normal_relu": _torch(torch_init.kaiming_normal_, nonlinearity="relu"),
    "torch_kaiming_normal_fan_out": _torch(torch_init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
    "torch_kaiming_normal_transposed": lambda n, m: torch_init.kaiming_normal_(torch.empty(n, m)).T,
    "torch_kaiming_normal_selu": _torch(torch_init.kaiming_normal_, nonlinearity="selu"),
    "torch_kaiming_normal_tanh": _torch(torch_init.kaiming_normal_, nonlinearity="tanh"),
    "torch_xavier_uniform": _torch(torch_init.xavier_uniform_),
    "torch_xavier_normal": _torch(torch_init.xavier_normal_),
    "torch_xavier_uniform_tanh": _torch(torch_init.xavier_uniform_, gain=torch_init.calculate_gain("tanh")),
    "torch_trunc_normal_std_02": _torch(torch_init.trunc_normal_, std=0.02),
    "torch_trunc_normal": _torch(torch_init.trunc_normal_),
    "torch_normal": _torch(torch_init.normal_),
    "torch_uniform": _torch(torch_init.uniform_),
    "torch_orthogonal": _torch(torch_init.orthogonal_),
    "torch_sparse": _torch(torch_init.sparse_, sparsity=0.1),
    "torch_eye": _torch(torch_init.eye_),
    "keras_dense": lambda n, m: _keras_layer(keras.layers.Dense(m), None, n).kernel.value.T,
    "keras_conv2d": lambda n, m: _keras_layer(keras.layers.Conv2D(m // 4, 2), None, 9, 9, n // 4).kernel.value,
    "keras_embedding": lambda n, m: _keras_layer(keras.layers.Embedding(n, m), None).embeddings.value.T,
    "keras_lstm_kernel": lambda n, m: _keras_lstm(n, m).cell.kernel.value.T,
    "keras_lstm_recurrent": lambda n, m: _keras_lstm(n, m).cell.recurrent_kernel.value.T,
    "keras_he_normal_string": lambda n, m: (
        _keras_layer(keras.layers.Dense(m, kernel_initializer="he_normal"), None, n).kernel.value.T
    ),
    "keras_he_normal": _keras(keras_init.HeNormal),
    "keras_he_uniform": _keras(keras_init.HeUniform),
    "keras_lecun_normal": _keras(keras_init.LecunNormal),
    "keras_lecun_uniform": _keras(keras_init.LecunUniform),
    "keras_glorot_normal": _keras(keras_init.GlorotNormal),
    "keras_glorot_uniform": _keras(keras_init.GlorotUniform),
    "keras_random_normal": _keras(keras_init.RandomNormal),
    "keras_random_uniform": _keras(keras_init.RandomUniform),
    "keras_truncated_normal": _keras(keras_init.TruncatedNormal),
    "keras_variance_scaling": _keras(keras_init.VarianceScaling),
    "keras_variance_scaling_normal": _keras(keras_init.VarianceScaling, distribution="normal"),
    "keras_variance_scaling_untruncated": _keras(keras_init.VarianceScaling, distribution="untruncated_normal"),
    "keras_orthogonal": _keras(keras_init.Orthogonal),
    "keras_identity": lambda n, m: keras_init.Identity()((n, m)).T,
    "keras_constant": lambda n, m: keras_init.Constant()((n, m)).T,
    "keras_ones": lambda n, m: keras_init.Ones()((n, m)).T,
    "jax_lecun_normal": _jax(jax_init.lecun_normal()),
    "jax_lecun_uniform": _jax(jax_init.lecun_uniform()),
    "jax_he_normal": _jax(jax_init.he_normal()),
    "jax_kaiming_normal": _jax(jax_init.kaiming_normal()),
    "jax_he_uniform": _jax(jax_init.he_uniform()),
    "jax_glorot_normal": _jax(jax_init.glorot_normal()),
    "jax_xavier_normal": _jax(jax_init.xavier_normal()),
    "jax_glorot_uniform": _jax(jax_init.glorot_uniform()),
    "jax_normal": _jax(jax_init.normal()),
    "jax_uniform": _jax(jax_init.uniform()),
    "jax_truncated_normal": _jax(jax_init.truncated_normal()),
    "jax_variance_scaling_normal": _jax(jax_init.variance_scaling(1.0, "fan_in", "normal")),
    "jax_variance_scaling_geo_avg": _jax(jax_init.variance_scaling(1.0, "fan_geo_avg", "normal")),
    "jax_orthogonal": _jax(jax_init.orthogonal()),
    "flax_dense": lambda n, m: _flax(linen.Dense(m), jnp.zeros((1, n)))["kernel"].T,
    "flax_nnx_linear": lambda n, m: nnx.Linear(n, m, rngs=nnx.Rngs(47)).kernel[...].T,
    "flax_conv": lambda n, m: _flax(linen.Conv(m, (2, 2)), jnp.zeros((1, 9, 9, n // 4)))["kernel"],
    "flax_embed": lambda n, m: _flax(linen.Embed(n, m), jnp.zeros(1, int))["embedding"].T,
    "flax_lstm_recurrent": lambda n, m: _flax_lstm(m)["hf"]["kernel"],
    "sklearn_mlp": lambda n, m: _mlp("relu")(n, m)[0],
    "sklearn_mlp_logistic": lambda n, m: _mlp("logistic")(n, m)[0],
    # The library is a page in TypeScript: weight = Math.random() - 0.5 (tensorflow/playground, src/nn.ts, class Link).
    "tensorflow_playground": lambda n, m: np.random.default_rng(48).random((m, n)) - 0.5,
}


def _drawn(slug: str) -> Array:
    with torch.random.fork_rng():
        torch.manual_seed(49)
        found = REFERENCES[slug](SHAPE.fan_in, SHAPE.fan_out)
    return np.asarray(found.detach() if isinstance(found, torch.Tensor) else found, dtype=np.float64)


def _ours(one: Translation) -> Array:
    return scheme(one.initializer).weights(SHAPE, generator(1, "weights"))[0].double().numpy()


def test_there_is_a_reference_for_each_translation() -> None:
    """Addresses name the slugs: one that is missing in either list breaks old links."""
    assert list(REFERENCES) == list(TRANSLATIONS)


@pytest.mark.parametrize("slug", TRANSLATIONS)
def test_the_library_draws_the_law_of_the_initializer(slug: str) -> None:
    theirs, ours = _drawn(slug), _ours(TRANSLATIONS[slug])
    law = scheme(TRANSLATIONS[slug].initializer).law(SHAPE)
    if slug in ("torch_eye", "keras_identity", "keras_constant", "keras_ones"):
        np.testing.assert_array_equal(theirs, ours)
        return
    assert theirs.size > 10_000
    p = stats.ks_2samp(theirs.ravel(), ours.ravel(), method="asymp").pvalue
    assert p > SMALLEST_P / len(TRANSLATIONS)
    error = law.standard_deviation / math.sqrt(theirs.size)
    assert abs(theirs.mean() - law.mean) < 5 * error
    deviation = math.sqrt(np.mean((theirs - law.mean) ** 2))
    assert abs(deviation - law.standard_deviation) < 5 * error * math.sqrt((law.kurtosis - 1) / 4)


@pytest.mark.parametrize(
    ("slug", "other"),
    [
        ("torch_linear", "he_uniform"),  # called Kaiming
        ("torch_kaiming_normal", "he_normal"),  # cut or not
        ("torch_trunc_normal_std_02", "truncated_normal(stddev=0.02)"),
        ("keras_truncated_normal", "random_normal"),
        ("keras_variance_scaling_normal", "variance_scaling(distribution=untruncated_normal)"),
        ("jax_variance_scaling_normal", "variance_scaling"),
        ("torch_kaiming_normal_transposed", "kaiming_normal"),
        ("flax_embed", "variance_scaling(distribution=untruncated_normal)"),
        ("torch_multihead_attention", "glorot_uniform"),
        ("torch_rnn_input", "torch_default"),
        ("keras_lstm_recurrent", "orthogonal(gain=2)"),
    ],
)
def test_the_comparison_sees_what_people_confuse(slug: str, other: str) -> None:
    ours = scheme(other).weights(SHAPE, generator(1, "weights"))[0].numpy()
    p = stats.ks_2samp(_drawn(slug).ravel(), ours.ravel(), method="asymp").pvalue
    assert p < SMALLEST_P / len(TRANSLATIONS)


# Biases


def _uniform(bound: float, *biases: Any) -> bool:
    values = np.concatenate([np.asarray(torch.as_tensor(one).detach(), dtype=np.float64) for one in biases])
    return bool(stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > SMALLEST_P)


def test_biases_are_what_is_said() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(50)
        assert _uniform(1 / 5, torch.nn.Linear(25, 900).bias)
        assert _uniform(1 / 6, torch.nn.Conv2d(4, 900, 3).bias)
        assert _uniform(1 / math.sqrt(8100), torch.nn.ConvTranspose2d(4, 900, 3).bias)
        for rnn in (torch.nn.RNN(3, 400), torch.nn.GRU(3, 400), torch.nn.LSTM(3, 400)):
            assert _uniform(1 / 20, rnn.bias_ih_l0, rnn.bias_hh_l0)
        attention = torch.nn.MultiheadAttention(16, 4)
    assert not attention.in_proj_bias.any()
    assert not hasattr(torch.nn.Embedding(3, 4), "bias")

    for layer in (
        _keras_layer(keras.layers.Dense(3), None, 4),
        _keras_layer(keras.layers.Conv2D(3, 2), None, 9, 9, 4),
    ):
        assert not layer.bias.value.any()
    lstm = _keras_lstm(3, 20).cell.bias.value
    np.testing.assert_array_equal(lstm.detach().numpy(), np.repeat([0.0, 1.0, 0.0, 0.0], 5))

    for params in (_flax(linen.Dense(3), jnp.zeros((1, 4))), _flax(linen.Conv(3, (2, 2)), jnp.zeros((1, 9, 9, 4)))):
        assert not params["bias"].any()
    assert not nnx.Linear(4, 3, rngs=nnx.Rngs(0)).bias[...].any()
    assert not any(gate["bias"].any() for gate in _flax_lstm(4).values() if "bias" in gate)
    assert list(_flax(linen.Embed(4, 3), jnp.zeros(1, int))) == ["embedding"]

    for name, factor in (("relu", 6), ("tanh", 6), ("identity", 6), ("logistic", 2)):
        weights, biases = _mlp(name)(20, 400)
        assert _uniform(math.sqrt(factor / 420), biases)
        assert _uniform(math.sqrt(factor / 420), weights[:, 0])


# What the traps claim


def test_torch_linear_has_a_sixth_of_the_variance_of_he() -> None:
    ratio = scheme("torch_default").law(SHAPE).variance / scheme("he_uniform").law(SHAPE).variance
    assert ratio == pytest.approx(1 / 6)
    assert _drawn("torch_linear").std() ** 2 * SHAPE.fan_in == pytest.approx(1 / 3, rel=0.02)


def test_bounds_of_trunc_normal_are_values() -> None:
    assert np.abs(_drawn("torch_trunc_normal_std_02")).max() > 3 * 0.02
    cut = torch_init.trunc_normal_(torch.empty(1000), std=0.02, a=-0.04, b=0.04)
    assert cut.abs().max() <= 0.04
    assert _drawn("torch_trunc_normal").std() == pytest.approx(laws.TRUNCATED_STDDEV, rel=0.01)


def test_truncated_normals_that_are_not_corrected() -> None:
    assert _drawn("keras_truncated_normal").std() == pytest.approx(0.044, rel=0.01)
    assert _drawn("jax_truncated_normal").std() == pytest.approx(0.0088, rel=0.01)
    assert _drawn("keras_he_normal").std() == pytest.approx(math.sqrt(2 / SHAPE.fan_in), rel=0.01)


def test_a_shared_keras_initializer_gives_equal_layers() -> None:
    shared = keras_init.HeNormal()
    for initializer, alike in ((shared, True), ("he_normal", False)):
        layers = [keras.layers.Dense(3, kernel_initializer=initializer) for _ in range(2)]
        first, second = (layer.build((None, 4)) or layer.kernel.value for layer in layers)
        assert bool((first == second).all()) == alike


def test_gains_that_pytorch_refuses_or_has_wrong() -> None:
    for name in ("gelu", "silu", "elu", "mish"):
        with pytest.raises(ValueError, match="nonlinearity"):
            torch_init.kaiming_normal_(torch.empty(2, 2), nonlinearity=name)
        assert theory.gain(activation(name), "forward") != pytest.approx(math.sqrt(2), rel=0.05)
    assert theory.gain(activation("selu"), "forward") == pytest.approx(1, rel=1e-6)
    assert theory.gain(activation("tanh"), "forward") == pytest.approx(1.593, abs=5e-4)
    assert theory.gain(activation("tanh"), "backward") == pytest.approx(1.467, abs=5e-4)


def test_the_zeros_of_sparse_do_not_follow_the_generator() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(51)
        first, second = (
            torch_init.sparse_(torch.empty(50, 50), 0.1, generator=torch.Generator().manual_seed(1)) for _ in range(2)
        )
    both = (first != 0) & (second != 0)
    assert (first[both] == second[both]).all()
    assert ((first == 0) != (second == 0)).any()


def test_recurrent_kernels_of_keras_and_flax() -> None:
    keras_gate = _keras_lstm(3, 64).cell.recurrent_kernel.value.detach().numpy()[:, :16]
    flax_gate = np.asarray(_flax_lstm(16)["hf"]["kernel"])
    np.testing.assert_allclose(flax_gate @ flax_gate.T, np.eye(16), atol=1e-5)
    assert np.abs(keras_gate @ keras_gate.T - np.eye(16)).max() > 0.3
    assert keras_gate.std() ** 2 / flax_gate.std() ** 2 == pytest.approx(1 / 4, rel=0.15)


def test_names_of_jax_that_are_not_those_of_pytorch() -> None:
    assert jax_init.kaiming_normal is jax_init.he_normal
    assert jax_init.kaiming_uniform is jax_init.he_uniform
    assert jax_init.xavier_normal is jax_init.glorot_normal
    assert jax_init.xavier_uniform is jax_init.glorot_uniform


def test_numbers_in_the_traps() -> None:
    def law(text: str, shape: LayerShape = SHAPE) -> laws.Law:
        return scheme(text).law(shape)

    # keras_random_normal, keras_embedding, tensorflow_playground, torch_normal
    assert law("he_normal", LayerShape(800, 10)).standard_deviation == pytest.approx(0.05)
    assert 1 / law("random_uniform").standard_deviation == pytest.approx(35, abs=0.5)
    assert law("playground_default").variance == pytest.approx(law("he_normal", LayerShape(24, 1)).variance)
    assert law("random_normal(stddev=1)").variance == pytest.approx(law("he_normal", LayerShape(2, 1)).variance)
    # keras_lecun_uniform, jax_lecun_uniform, flax_dense
    assert law("lecun_uniform").variance == pytest.approx(3 * law("torch_default").variance)
    # torch_xavier_uniform_tanh
    assert law("xavier_uniform(gain=1.6666666666666667)").variance == pytest.approx(
        2.78 * law("glorot_uniform").variance, rel=1e-3
    )


MISUNDERSTANDINGS = {
    "torch_linear": "called Kaiming",
    "torch_kaiming_normal_selu": "3/4",
    "torch_kaiming_normal_relu": "GELU, SiLU, ELU and Mish",
    "torch_kaiming_normal_fan_out": "gradients",
    "torch_kaiming_normal_transposed": "x @ w",
    "jax_he_normal": "transpose",
    "torch_trunc_normal_std_02": "never cut",
    "keras_truncated_normal": "before the cut",
    "keras_he_normal_string": "corrected",
    "keras_he_normal": "shared",
    "jax_variance_scaling_normal": "'normal'",
    "keras_variance_scaling_normal": "'normal'",
    "jax_uniform": "mean",
    "torch_uniform": "mean",
    "torch_sparse": "generator",
    "torch_conv_transpose2d": "come out",
    "torch_multihead_attention": "three times",
    "flax_nnx_linear": "PyTorch",
    "jax_kaiming_normal": "PyTorch's name",
}
"""What people get wrong about laws (INITIALIZERS.md, section 3), and a word that says it."""


@pytest.mark.parametrize(("slug", "words"), MISUNDERSTANDINGS.items())
def test_the_traps_name_what_people_get_wrong(slug: str, words: str) -> None:
    assert words in TRANSLATIONS[slug].trap


# Form


def test_slugs_and_texts_are_well_formed() -> None:
    for slug, one in TRANSLATIONS.items():
        assert one.slug == slug
        assert re.fullmatch(r"[a-z0-9_]+", slug)
        assert slug.startswith(one.framework)
        assert one.initializer == canonical(one.initializer)
        assert re.fullmatch(r"[^.].*[^.]\.", one.trap), one.trap
        assert ". " not in one.trap, "one sentence"
        assert one.bias
        assert not one.bias.endswith(".")
        assert one.label == LABELS[one.framework]
    written = [one.written for one in TRANSLATIONS.values()]
    assert len(set(written)) == len(written)


def test_translations_are_ordered_by_framework() -> None:
    order = [list(LABELS).index(one.framework) for one in TRANSLATIONS.values()]
    assert order == sorted(order)
    assert set(order) == set(range(len(LABELS)))
    assert tuple(LABELS)[: len(FRAMEWORKS)] == FRAMEWORKS


# Explanations


@pytest.mark.parametrize("slug", TRANSLATIONS)
def test_explanation_agrees_with_the_law(slug: str) -> None:
    one = TRANSLATIONS[slug]
    for shape in (SHAPE, LayerShape(1, 1, 1, 0, "selu"), LayerShape(64, 1000, 4, 3, "sigmoid")):
        law, found = scheme(one.initializer).law(shape), explain(one, shape)
        assert (found.mean, found.standard_deviation) == (law.mean, law.standard_deviation)
        assert found.sigma_w_squared == pytest.approx(shape.fan_in * law.variance)
        assert found.sentence.startswith(one.written)
        assert found.sentence.endswith(".")
        assert len(found.sentence) < 220
        assert found.lines == {name: export.line(one.initializer, name, shape) for name in FRAMEWORKS}


@pytest.mark.parametrize(
    ("slug", "shape", "sentence"),
    [
        (
            "torch_linear",
            LayerShape(64, 64),
            "torch.nn.Linear(...) draws uniformly, standard deviation 0.0722, sigma_w^2 = 0.333: a sixth of what ReLU"
            " needs.",
        ),
        (
            "keras_he_normal",
            LayerShape(64, 64),
            "keras.initializers.HeNormal() draws from a normal law cut at -0.402 and 0.402, standard deviation 0.177,"
            " sigma_w^2 = 2: just what ReLU needs.",
        ),
        (
            "torch_kaiming_normal",
            LayerShape(64, 64, activation="identity"),
            "torch.nn.init.kaiming_normal_(w) draws from a normal law, standard deviation 0.177, sigma_w^2 = 2: twice"
            " what identity needs.",
        ),
        (
            "torch_normal",
            LayerShape(64, 64, activation="tanh"),
            "torch.nn.init.normal_(w) draws from a normal law, standard deviation 1, sigma_w^2 = 64: 25.2 times what"
            " tanh needs.",
        ),
        (
            "torch_uniform",
            LayerShape(64, 64),
            "torch.nn.init.uniform_(w) draws uniformly, mean 0.5, standard deviation 0.289, sigma_w^2 = 5.33.",
        ),
        ("keras_ones", LayerShape(64, 64), "keras.initializers.Ones() sets every weight to 1, sigma_w^2 = 0."),
        (
            "jax_orthogonal",
            LayerShape(64, 64),
            "jax.nn.initializers.orthogonal() draws an orthogonal matrix, standard deviation 0.125, sigma_w^2 = 1:"
            " half of what ReLU needs.",
        ),
    ],
)
def test_sentences(slug: str, shape: LayerShape, sentence: str) -> None:
    assert explain(TRANSLATIONS[slug], shape).sentence == sentence


def test_nothing_can_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSLATIONS["torch_linear"] = TRANSLATIONS["torch_eye"]  # type: ignore[index]
    with pytest.raises(TypeError):
        explain(TRANSLATIONS["torch_linear"], SHAPE).lines["torch"] = ""  # type: ignore[index]
