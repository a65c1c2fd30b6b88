"""Which law a framework really draws: what people write, the catalogue's name for its law, and what fools them.

>>> TRANSLATIONS["torch_linear"].initializer
'torch_default'
>>> print(explain(TRANSLATIONS["torch_linear"], LayerShape(64, 64)).sentence)
torch.nn.Linear(...) draws uniformly, standard deviation 0.0722, sigma_w^2 = 0.333: a sixth of what ReLU needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from winit import export, laws, theory
from winit.initializers import FRAMEWORKS, LayerShape, scheme
from winit.laws import Law


@dataclass(frozen=True)
class Translation:
    """Something that a framework draws, and the initializer of the catalogue that has the same law."""

    slug: str
    """Its name in an address; never changed or reused once published."""
    framework: str
    written: str
    initializer: str
    """Canonical text form."""
    bias: str
    """What the layer's biases start at."""
    trap: str
    """What people get wrong, in a sentence."""

    @property
    def label(self) -> str:
        """The framework's name for readers."""
        return LABELS[self.framework]


@dataclass(frozen=True)
class Explanation:
    """What a translation comes to in one layer."""

    mean: float
    standard_deviation: float
    """Of one weight, as drawn: after any cut."""
    sigma_w_squared: float
    """fan_in times the variance."""
    sentence: str
    lines: Mapping[str, str]
    """Code of the same law, by framework."""


LABELS: Mapping[str, str] = MappingProxyType(
    {**export.LABELS, "sklearn": "scikit-learn", "tensorflow_playground": "TensorFlow Playground"}
)
"""The frameworks of the translations, in their order."""

_TORCH_UNIFORM = "uniform between -/+ 1 / sqrt(fan_in)"
_UNTOUCHED = "not touched: they keep what the layer drew, uniform between -/+ 1 / sqrt(fan_in)"
_DENSE = "0, in a Dense layer that is not told otherwise"
_NONE = "none: a JAX initializer fills one array"

_TORCH = (
    (
        "torch_linear",
        "torch.nn.Linear(...)",
        "torch_default",
        _TORCH_UNIFORM,
        "It is called Kaiming because the code says kaiming_uniform_, but a = sqrt(5) there makes the variance a sixth "
        "of He's, so each ReLU layer leaves a sixth of the signal's second moment.",
    ),
    (
        "torch_conv2d",
        "torch.nn.Conv2d(...)",
        "torch_default",
        _TORCH_UNIFORM,
        "The law of torch.nn.Linear with fan_in = channels x kernel height x kernel width (channels per group), and so "
        "again a sixth of He's variance.",
    ),
    (
        "torch_conv_transpose2d",
        "torch.nn.ConvTranspose2d(...)",
        "variance_scaling(scale=0.3333333333333333, mode=fan_out, distribution=uniform)",
        "uniform between -/+ 1 / sqrt(output channels x kernel)",
        "Its weight is stored as (in, out, height, width), so what PyTorch takes for the fan_in are the channels that "
        "come out, times the kernel.",
    ),
    (
        "torch_embedding",
        "torch.nn.Embedding(...)",
        "random_normal(stddev=1)",
        "none",
        "Standard normal whatever the width, fifty times wider than the 0.02 of GPT-2, and far too wide for an output "
        "layer that shares the matrix.",
    ),
    (
        "torch_rnn_recurrent",
        "torch.nn.RNN, GRU, LSTM(...): weight_hh",
        "torch_default",
        "two per unit, both uniform between -/+ 1 / sqrt(hidden size)",
        "Not orthogonal as in Keras and Flax: uniform with a third of the variance that would keep the state of a "
        "linear network.",
    ),
    (
        "torch_rnn_input",
        "torch.nn.RNN(...): weight_ih",
        "variance_scaling(scale=0.3333333333333333, mode=fan_out, distribution=uniform)",
        "two per unit, both uniform between -/+ 1 / sqrt(hidden size)",
        "The interval looks at the hidden size alone, in GRU and LSTM too: how many inputs there are does not matter, "
        "so many inputs to few units explode.",
    ),
    (
        "torch_multihead_attention",
        "torch.nn.MultiheadAttention(...): in_proj_weight",
        "variance_scaling(scale=0.5, distribution=uniform)",
        "0",
        "Xavier on the packed matrix of three projections counts fan_out three times, so each projection has half the "
        "variance that Xavier gives a matrix of its own.",
    ),
    (
        "torch_kaiming_uniform",
        "torch.nn.init.kaiming_uniform_(w)",
        "he_uniform",
        _UNTOUCHED,
        "Without arguments it is He's law for ReLU (leaky_relu with a = 0), six times the variance of the layer's own "
        "kaiming_uniform_(w, a=sqrt(5)).",
    ),
    (
        "torch_kaiming_uniform_sqrt5",
        "torch.nn.init.kaiming_uniform_(w, a=5**0.5)",
        "variance_scaling(scale=0.3333333333333333, distribution=uniform)",
        _UNTOUCHED,
        "a is the slope of leaky ReLU, and nobody has a slope of 2.24: it only serves to write the old interval "
        "-/+ 1 / sqrt(fan_in) in new words.",
    ),
    (
        "torch_kaiming_uniform_linear",
        "torch.nn.init.kaiming_uniform_(w, nonlinearity='linear')",
        "lecun_uniform",
        _UNTOUCHED,
        "This is LeCun's law, for which PyTorch has no name; a ReLU needs twice the variance.",
    ),
    (
        "torch_kaiming_normal",
        "torch.nn.init.kaiming_normal_(w)",
        "kaiming_normal",
        _UNTOUCHED,
        "A plain normal, while he_normal of Keras and JAX is cut at two standard deviations: same variance, other "
        "tails.",
    ),
    (
        "torch_kaiming_normal_relu",
        "torch.nn.init.kaiming_normal_(w, nonlinearity='relu')",
        "kaiming_normal",
        _UNTOUCHED,
        "Right for ReLU; for GELU, SiLU, ELU and Mish PyTorch has no gain and raises an error, and with ReLU's in "
        "their place the signal shrinks or grows.",
    ),
    (
        "torch_kaiming_normal_fan_out",
        "torch.nn.init.kaiming_normal_(w, mode='fan_out', nonlinearity='relu')",
        "kaiming_normal(mode=fan_out)",
        _UNTOUCHED,
        "It keeps the gradients, not the signal: where a layer widens it is too narrow going forward, where it narrows "
        "too wide.",
    ),
    (
        "torch_kaiming_normal_transposed",
        "torch.nn.init.kaiming_normal_(w) of a w stored as (fan_in, fan_out)",
        "kaiming_normal(mode=fan_out)",
        "not touched",
        "PyTorch takes the second side for the inputs: a weight used as x @ w gets the wrong fan, unless w.T is what "
        "is passed.",
    ),
    (
        "torch_kaiming_normal_selu",
        "torch.nn.init.kaiming_normal_(w, nonlinearity='selu')",
        "kaiming_normal(nonlinearity=selu)",
        _UNTOUCHED,
        "The gain 3/4 is empirical and breaks what SELU is for: to keep mean 0 and variance 1 it needs gain 1, "
        "nonlinearity='linear'.",
    ),
    (
        "torch_kaiming_normal_tanh",
        "torch.nn.init.kaiming_normal_(w, nonlinearity='tanh')",
        "kaiming_normal(nonlinearity=tanh)",
        _UNTOUCHED,
        "The gain 5/3 is PyTorch's own round number: 1.593 keeps the signal of tanh and 1.467 its gradients.",
    ),
    (
        "torch_xavier_uniform",
        "torch.nn.init.xavier_uniform_(w)",
        "glorot_uniform",
        _UNTOUCHED,
        "The gain is 1 unless told, which fits linear networks: a ReLU needs sqrt(2), or each layer halves the second "
        "moment of the signal.",
    ),
    (
        "torch_xavier_normal",
        "torch.nn.init.xavier_normal_(w)",
        "xavier_normal",
        _UNTOUCHED,
        "A plain normal, while glorot_normal of Keras and JAX is cut at two standard deviations: same variance, other "
        "tails.",
    ),
    (
        "torch_xavier_uniform_tanh",
        "torch.nn.init.xavier_uniform_(w, gain=torch.nn.init.calculate_gain('tanh'))",
        "xavier_uniform(gain=1.6666666666666667)",
        _UNTOUCHED,
        "Glorot's own law for tanh has no such gain; 5/3 multiplies the variance by 2.78.",
    ),
    (
        "torch_trunc_normal_std_02",
        "torch.nn.init.trunc_normal_(w, std=0.02)",
        "trunc_normal(std=0.02)",
        _UNTOUCHED,
        "It is never cut: the bounds -2 and 2 are values, a hundred standard deviations away; a=-0.04, b=0.04 would "
        "cut it at two.",
    ),
    (
        "torch_trunc_normal",
        "torch.nn.init.trunc_normal_(w)",
        "trunc_normal",
        _UNTOUCHED,
        "Cut at -2 and 2 with nothing put back: the standard deviation is 0.88, not 1, and knows nothing of the fan.",
    ),
    (
        "torch_normal",
        "torch.nn.init.normal_(w)",
        "random_normal(stddev=1)",
        _UNTOUCHED,
        "The standard deviation is 1 unless told, not the 0.05 of Keras or the 0.01 of JAX: in a ReLU network every "
        "layer of more than two inputs lets the signal grow.",
    ),
    (
        "torch_uniform",
        "torch.nn.init.uniform_(w)",
        "random_uniform(minval=0, maxval=1)",
        _UNTOUCHED,
        "It goes from 0 to 1: no weight is negative and the mean is 0.5, so all units of a layer move together.",
    ),
    (
        "torch_orthogonal",
        "torch.nn.init.orthogonal_(w)",
        "orthogonal",
        _UNTOUCHED,
        "Gain 1 keeps linear networks only: a ReLU needs gain sqrt(2), and in a layer that is not square only the "
        "shorter side is kept.",
    ),
    (
        "torch_sparse",
        "torch.nn.init.sparse_(w, sparsity=0.1)",
        "sparse",
        _UNTOUCHED,
        "Sparsity is the share of zeros in each column, the weights of one input, and which they are does not follow "
        "the generator that is passed in.",
    ),
    (
        "torch_eye",
        "torch.nn.init.eye_(w)",
        "identity",
        _UNTOUCHED,
        "The layer is the identity only once its biases are 0 too, and where it widens, the further units start dead.",
    ),
)

_KERAS = (
    (
        "keras_dense",
        "keras.layers.Dense(...)",
        "glorot_uniform",
        "0",
        "Nobody asked for ReLU: the default is Glorot's law, in a layer of equal sides half the variance that a ReLU "
        "needs.",
    ),
    (
        "keras_conv2d",
        "keras.layers.Conv2D(...)",
        "glorot_uniform",
        "0",
        "Glorot's law with both fans times the kernel's height and width: half the variance that a ReLU needs where "
        "the channels stay as many.",
    ),
    (
        "keras_embedding",
        "keras.layers.Embedding(...)",
        "random_uniform",
        "none",
        "Uniform between -0.05 and 0.05 whatever the width: a thirty-fifth of the standard deviation of PyTorch's "
        "embedding.",
    ),
    (
        "keras_lstm_kernel",
        "keras.layers.LSTM(...): kernel",
        "glorot_uniform",
        "0, and 1 for the forget gate",
        "Glorot's fan_out are the units of all four gates, so a gate has less variance than a Dense layer of its size.",
    ),
    (
        "keras_lstm_recurrent",
        "keras.layers.LSTM(...): recurrent_kernel",
        "orthogonal",
        "0, and 1 for the forget gate",
        "One orthogonal matrix (units, 4 units) for four gates: no gate's own part is orthogonal, and each has a "
        "quarter of the variance of Flax's.",
    ),
    (
        "keras_he_normal_string",
        "kernel_initializer='he_normal'",
        "he_normal",
        _DENSE,
        "Cut at two standard deviations and corrected for it: PyTorch's kaiming_normal_ has the same variance without "
        "the cut.",
    ),
    (
        "keras_he_normal",
        "keras.initializers.HeNormal()",
        "he_normal",
        _DENSE,
        "One instance without a seed that is shared by two layers of the same shape gives both the same weights; the "
        "string 'he_normal' does not.",
    ),
    (
        "keras_he_uniform",
        "keras.initializers.HeUniform()",
        "he_uniform",
        _DENSE,
        "It is PyTorch's kaiming_uniform_(w), and not what torch.nn.Linear draws with a function of that name.",
    ),
    (
        "keras_lecun_normal",
        "keras.initializers.LecunNormal()",
        "lecun_normal",
        _DENSE,
        "Right for SELU and for linear networks; a ReLU needs twice the variance.",
    ),
    (
        "keras_lecun_uniform",
        "keras.initializers.LecunUniform()",
        "lecun_uniform",
        _DENSE,
        "Three times the variance of torch.nn.Linear, which is taken for LeCun's law now and then.",
    ),
    (
        "keras_glorot_normal",
        "keras.initializers.GlorotNormal()",
        "glorot_normal",
        _DENSE,
        "Cut at two standard deviations and corrected for it: PyTorch's xavier_normal_ has the same variance without "
        "the cut.",
    ),
    (
        "keras_glorot_uniform",
        "keras.initializers.GlorotUniform()",
        "glorot_uniform",
        _DENSE,
        "It looks at fan_in + fan_out: where a layer narrows, the signal grows, where it widens, it shrinks.",
    ),
    (
        "keras_random_normal",
        "keras.initializers.RandomNormal()",
        "random_normal",
        _DENSE,
        "Standard deviation 0.05 whatever the width: it is He's at 800 inputs and nowhere else.",
    ),
    (
        "keras_random_uniform",
        "keras.initializers.RandomUniform()",
        "random_uniform",
        _DENSE,
        "Between -0.05 and 0.05, where PyTorch's uniform_ goes from 0 to 1 and JAX's uniform from 0 to 0.01.",
    ),
    (
        "keras_truncated_normal",
        "keras.initializers.TruncatedNormal()",
        "truncated_normal",
        _DENSE,
        "stddev=0.05 is the standard deviation before the cut: the real one is 0.044, while VarianceScaling corrects "
        "for the cut.",
    ),
    (
        "keras_variance_scaling",
        "keras.initializers.VarianceScaling()",
        "variance_scaling",
        _DENSE,
        "The default is LeCun's cut normal, scale 1 over fan_in; He's has scale 2.",
    ),
    (
        "keras_variance_scaling_normal",
        "keras.initializers.VarianceScaling(distribution='normal')",
        "variance_scaling",
        _DENSE,
        "'normal' means the cut normal here, and the plain one in JAX.",
    ),
    (
        "keras_variance_scaling_untruncated",
        "keras.initializers.VarianceScaling(distribution='untruncated_normal')",
        "variance_scaling(distribution=untruncated_normal)",
        _DENSE,
        "The only plain normal that Keras scales by the fan: HeNormal, LecunNormal and GlorotNormal are all cut.",
    ),
    (
        "keras_orthogonal",
        "keras.initializers.Orthogonal()",
        "orthogonal",
        _DENSE,
        "Gain 1 keeps linear networks only: a ReLU needs gain=2**0.5.",
    ),
    (
        "keras_identity",
        "keras.initializers.Identity()",
        "identity",
        _DENSE,
        "Where a layer widens, the further units start at 0 and stay dead in a ReLU network.",
    ),
    (
        "keras_constant",
        "keras.initializers.Constant()",
        "constant",
        _DENSE,
        "The value is 0 unless told, and with any other one all units of a layer stay equal too.",
    ),
    (
        "keras_ones",
        "keras.initializers.Ones()",
        "constant(value=1)",
        _DENSE,
        "All units of a layer compute the same sum and receive the same gradient.",
    ),
)

_JAX = (
    (
        "jax_lecun_normal",
        "jax.nn.initializers.lecun_normal()",
        "lecun_normal",
        _NONE,
        "A normal cut at two standard deviations and corrected for it; a ReLU needs twice the variance.",
    ),
    (
        "jax_lecun_uniform",
        "jax.nn.initializers.lecun_uniform()",
        "lecun_uniform",
        _NONE,
        "Three times the variance of torch.nn.Linear, although both are uniform and look at fan_in.",
    ),
    (
        "jax_he_normal",
        "jax.nn.initializers.he_normal()",
        "he_normal",
        _NONE,
        "It reads shapes as (fan_in, fan_out), the transpose of PyTorch's: a ported (fan_out, fan_in) array gets the "
        "wrong fan.",
    ),
    (
        "jax_kaiming_normal",
        "jax.nn.initializers.kaiming_normal()",
        "he_normal",
        _NONE,
        "PyTorch's name for another law: this is he_normal, cut at two standard deviations; PyTorch's is not cut.",
    ),
    (
        "jax_he_uniform",
        "jax.nn.initializers.he_uniform()",
        "he_uniform",
        _NONE,
        "Its other name, kaiming_uniform, is that of the function with which torch.nn.Linear draws a sixth of this "
        "variance.",
    ),
    (
        "jax_glorot_normal",
        "jax.nn.initializers.glorot_normal()",
        "glorot_normal",
        _NONE,
        "A normal cut at two standard deviations and corrected for it.",
    ),
    (
        "jax_xavier_normal",
        "jax.nn.initializers.xavier_normal()",
        "glorot_normal",
        _NONE,
        "PyTorch's name for another law: this is glorot_normal, cut at two standard deviations; PyTorch's is not cut.",
    ),
    (
        "jax_glorot_uniform",
        "jax.nn.initializers.glorot_uniform()",
        "glorot_uniform",
        _NONE,
        "No gain can be passed, unlike in PyTorch: variance_scaling takes the square of the gain as its scale.",
    ),
    (
        "jax_normal",
        "jax.nn.initializers.normal()",
        "random_normal(stddev=0.01)",
        _NONE,
        "Standard deviation 0.01, where Keras has 0.05 and PyTorch 1.",
    ),
    (
        "jax_uniform",
        "jax.nn.initializers.uniform()",
        "random_uniform(minval=0, maxval=0.01)",
        _NONE,
        "It goes from 0 to its scale: no weight is negative and the mean is half the scale.",
    ),
    (
        "jax_truncated_normal",
        "jax.nn.initializers.truncated_normal()",
        "truncated_normal(stddev=0.01)",
        _NONE,
        "stddev=0.01 is the standard deviation before the cut at two of them, the real one 0.0088; PyTorch's bounds "
        "are values instead.",
    ),
    (
        "jax_variance_scaling_normal",
        "jax.nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')",
        "variance_scaling(distribution=untruncated_normal)",
        _NONE,
        "'normal' means the plain normal here, and the cut one in Keras.",
    ),
    (
        "jax_variance_scaling_geo_avg",
        "jax.nn.initializers.variance_scaling(1.0, 'fan_geo_avg', 'normal')",
        "variance_scaling(mode=fan_geo_avg, distribution=untruncated_normal)",
        _NONE,
        "The geometric mean of the fans, which neither Keras nor PyTorch has; where they differ it is below Glorot's "
        "mean, so the weights are wider.",
    ),
    (
        "jax_orthogonal",
        "jax.nn.initializers.orthogonal()",
        "orthogonal",
        _NONE,
        "scale is the gain here and not its square, unlike the scale of variance_scaling; a ReLU needs sqrt(2).",
    ),
)

_FLAX = (
    (
        "flax_dense",
        "flax.linen.Dense(...)",
        "lecun_normal",
        "0",
        "LeCun's law, three times the variance of torch.nn.Linear and half of what a ReLU needs.",
    ),
    (
        "flax_nnx_linear",
        "flax.nnx.Linear(...)",
        "lecun_normal",
        "0",
        "The name is PyTorch's, the law is not: three times its variance, a cut normal, and no biases but 0.",
    ),
    (
        "flax_conv",
        "flax.linen.Conv(...)",
        "lecun_normal",
        "0",
        "LeCun's law with fan_in = channels x kernel height x kernel width: half of what a ReLU needs.",
    ),
    (
        "flax_embed",
        "flax.linen.Embed(...)",
        "variance_scaling(mode=fan_out, distribution=untruncated_normal)",
        "none",
        "The code says fan_in, and with out_axis=0 that comes to the number of features: variance 1 / features, "
        "where PyTorch has 1.",
    ),
    (
        "flax_lstm_recurrent",
        "flax.linen.LSTMCell(...): recurrent kernels",
        "orthogonal",
        "0, for the forget gate too",
        "An orthogonal matrix for each gate, while Keras draws one for all four with a quarter of the variance.",
    ),
)

_SKLEARN = (
    (
        "sklearn_mlp",
        "MLPClassifier(activation='relu')",
        "glorot_uniform",
        "uniform, from the same interval as the weights",
        "Glorot's interval for ReLU as for tanh and identity: where layers are equally wide, a ReLU halves the second "
        "moment of the signal.",
    ),
    (
        "sklearn_mlp_logistic",
        "MLPClassifier(activation='logistic')",
        "variance_scaling(scale=0.3333333333333333, mode=fan_avg, distribution=uniform)",
        "uniform, from the same interval as the weights",
        "A third of Glorot's variance, although a sigmoid, flat as it is, needs more and not less.",
    ),
)

_PLAYGROUND = (
    (
        "tensorflow_playground",
        "playground.tensorflow.org",
        "playground_default",
        "0.1",
        "Uniform between -0.5 and 0.5 whatever the width: narrower than He's at its one to eight units, wider in every "
        "layer of more than 24 inputs.",
    ),
)

TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        slug: Translation(slug, framework, written, scheme(initializer).text, bias, trap)
        for framework, entries in zip(LABELS, (_TORCH, _KERAS, _JAX, _FLAX, _SKLEARN, _PLAYGROUND), strict=True)
        for slug, written, initializer, bias, trap in entries
    }
)
"""By slug, ordered by framework."""


def explain(translation: Translation, shape: LayerShape) -> Explanation:
    """Return what a translation comes to in a layer of this shape."""
    law = scheme(translation.initializer).law(shape)
    sigma_w_squared = shape.fan_in * law.variance
    return Explanation(
        law.mean,
        law.standard_deviation,
        sigma_w_squared,
        f"{translation.written} {_moments(law)}, sigma_w^2 = {sigma_w_squared:.3g}{_compared(law, shape)}.",
        MappingProxyType(
            {framework: export.line(translation.initializer, framework, shape) for framework in FRAMEWORKS}
        ),
    )


def _moments(law: Law) -> str:
    match law:
        case laws.Constant(value):
            return f"sets every weight to {value:.3g}"
        case laws.Uniform():
            drawn = "draws uniformly"
        case laws.TruncatedNormal(low=low, high=high):
            drawn = f"draws from a normal law cut at {low:.3g} and {high:.3g}"
        case laws.Normal():
            drawn = "draws from a normal law"
        case laws.Orthogonal():
            drawn = "draws an orthogonal matrix"
        case _:
            drawn = "fills a matrix that is mostly 0" if law.zero_fraction > 0.5 else "draws a matrix with zeros"
    mean = f", mean {law.mean:.3g}" if law.mean else ""
    return f"{drawn}{mean}, standard deviation {law.standard_deviation:.3g}"


_PARTS = ("half", "a third", "a quarter", "a fifth", "a sixth", "a seventh", "an eighth", "a ninth", "a tenth")
_RATIOS: Mapping[float, str] = MappingProxyType(
    {1 / number: f"{part} of" for number, part in enumerate(_PARTS, start=2)}
    | {1.0: "just", 2.0: "twice"}
    | {float(number): f"{number} times" for number in range(3, 11)}
)
_NEAR = 0.01


def _compared(law: Law, shape: LayerShape) -> str:
    """Return how sigma_w^2 compares with what keeps the signal of the activation, as the end of a sentence."""
    if law.mean or not law.variance:  # theory speaks of weights that scatter around 0
        return ""
    ratio = shape.fan_in * law.variance / theory.gain(shape.phi, "forward") ** 2
    words = (words for value, words in _RATIOS.items() if abs(ratio / value - 1) < _NEAR)
    return f": {next(words, f'{ratio:.3g} times')} what {shape.phi.label} needs"
