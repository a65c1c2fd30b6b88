"""Laws that do not look at the layer: constants, and normals and uniforms of one scale."""

from __future__ import annotations

from winit import laws
from winit.fields import Refused, number_text, tex
from winit.initializers.formula import constant
from winit.initializers.layer import LayerShape
from winit.initializers.record import Code, Initializer, Rule, number
from winit.initializers.writing import factor, function, jax_uniform, options, plain_number
from winit.laws import Law
from winit.textform import Alias


def fixed(law: Law, text: str, latex: str) -> Rule:
    """Return a rule whose law does not depend on the layer."""
    return Rule(lambda shape: law, constant(text, latex))


_ANY = 1e30


def _truncated(mean: float, stddev: float, lower: float, upper: float) -> Rule:
    if not mean + lower * stddev < mean + upper * stddev:
        raise Refused("lower below upper, also once rounded beside the mean")
    law = laws.TruncatedNormal.at(mean, stddev, lower, upper)
    return fixed(
        law,
        f"normal, mean {number_text(mean)}, standard deviation {number_text(stddev)}, cut at {number_text(lower)} and "
        f"{number_text(upper)} of them, not corrected: real standard deviation {law.standard_deviation:.5g}",
        rf"w \sim \mathcal{{N}}({tex(mean)}, {tex(stddev)}^2)\ \text{{cut at}}\ {tex(lower)}\ \text{{and}}\ "
        rf"{tex(upper)}\ \text{{sd}}, \qquad \sigma = {tex(law.standard_deviation)}",
    )


def _trunc_normal(mean: float, std: float, a: float, b: float) -> Rule:
    if not a < b:
        raise Refused("a below b")
    law = laws.TruncatedNormal(mean, std, a, b)
    return fixed(
        law,
        f"normal, mean {number_text(mean)}, standard deviation {number_text(std)}, cut at the values {number_text(a)} "
        f"and {number_text(b)}, not corrected: real standard deviation {law.standard_deviation:.5g}",
        rf"w \sim \mathcal{{N}}({tex(mean)}, {tex(std)}^2)\ \text{{cut to}}\ [{tex(a)},\ {tex(b)}], "
        rf"\qquad \sigma = {tex(law.standard_deviation)}",
    )


def _normal_code(shape: LayerShape, mean: float, stddev: float) -> dict[str, str]:
    shift, scale = options(mean=(mean, 0.0)), number_text(stddev)
    drawn = f"{factor(stddev)}jax.random.normal(key, shape, dtype)"
    shifted = f"lambda key, shape, dtype: {number_text(mean)} + {drawn}"
    return {
        "torch": f"torch.nn.init.normal_(layer.weight{shift}, std={scale})",
        "keras": f"keras.initializers.RandomNormal({f'{shift}, stddev={scale}'.removeprefix(', ')})",
        "jax": shifted if mean else f"jax.nn.initializers.normal({scale})",
    }


def _truncated_code(shape: LayerShape, mean: float, stddev: float, lower: float, upper: float) -> dict[str, str]:
    bounds = plain_number(mean + lower * stddev), plain_number(mean + upper * stddev)
    return _cut_code(shape, "truncated_normal", mean, stddev, (lower, upper), bounds)


def _trunc_normal_code(shape: LayerShape, mean: float, std: float, a: float, b: float) -> dict[str, str]:
    cut = plain_number((a - mean) / std), plain_number((b - mean) / std)
    return _cut_code(shape, "trunc_normal", mean, std, cut, (a, b))


_NEVER = 8.0
"""Beyond so many standard deviations lies one weight in 10^15."""


def _cut_code(
    shape: LayerShape, name: str, mean: float, stddev: float, cut: tuple[float, float], bounds: tuple[float, float]
) -> dict[str, str]:
    """Return the code of a normal cut at two points: `cut` in standard deviations from its mean, `bounds` as values."""
    texts = {"function": "", **_normal_code(shape, mean, stddev)}
    ends = options(a=(bounds[0], -2.0), b=(bounds[1], 2.0))
    texts["torch"] = f"torch.nn.init.trunc_normal_(layer.weight{options(mean=(mean, 0.0), std=(stddev, 1.0))}{ends})"
    lower, upper = map(number_text, cut)
    if cut[0] < -_NEVER and cut[1] > _NEVER:
        return texts
    if mean:
        drawn = f"{factor(stddev)}jax.random.truncated_normal(key, {lower}, {upper}, shape, dtype)"
        texts["jax"] = f"lambda key, shape, dtype: {number_text(mean)} + {drawn}"
    else:
        stated = number_text(stddev) + options(lower=(cut[0], -2.0), upper=(cut[1], 2.0))
        texts["jax"] = f"jax.nn.initializers.truncated_normal({stated})"
    if cut == (-2.0, 2.0):
        texts["keras"] = texts["keras"].replace("RandomNormal", "TruncatedNormal")
    else:
        texts["keras"] = function(name)[1].format(part="")
        scaled = options(loc=(mean, 0.0), scale=(stddev, 1.0))
        texts["function"] = f"""def {name}(fan_in, fan_out):
    size = (fan_out, fan_in)
    return scipy.stats.truncnorm.rvs({lower}, {upper}{scaled}, size=size, random_state=rng)
"""
    return texts


def _uniform_code(shape: LayerShape, minval: float, maxval: float) -> dict[str, str]:
    low, high = number_text(minval), number_text(maxval)
    return {"jax": jax_uniform(low, high) if minval else f"jax.nn.initializers.uniform({high})"}


RECORDS = (
    Initializer(
        "zeros",
        "constant",
        lambda: fixed(laws.Constant(0.0), "every weight is 0", "w = 0"),
        "Every neuron of a layer stays equal to its neighbours and the signal is cut: nothing is learned.",
        "keras.initializers.Zeros; torch.nn.init.zeros_",
        Code("torch.nn.init.zeros_(layer.weight)", "keras.initializers.Zeros()", "jax.nn.initializers.zeros"),
    ),
    Initializer(
        "constant",
        "constant",
        lambda value: fixed(laws.Constant(value), f"every weight is {number_text(value)}", f"w = {tex(value)}"),
        "All neurons of a layer compute the same thing and receive the same gradient: one neuron per layer in effect.",
        "keras.initializers.Constant; torch.nn.init.constant_",
        Code(
            "torch.nn.init.constant_(layer.weight, {value})",
            "keras.initializers.Constant({value})",
            "jax.nn.initializers.constant({value})",
        ),
        (number("value", 0.0, -_ANY, _ANY, "The value of every weight."),),
    ),
    Initializer(
        "random_normal",
        "plain",
        lambda mean, stddev: fixed(
            laws.Normal(mean, stddev),
            f"normal, mean {number_text(mean)}, variance {number_text(stddev)}^2 = {stddev**2:.5g}",
            rf"w \sim \mathcal{{N}}(\mu, \sigma^2), \qquad \mu = {tex(mean)},"
            rf"\ \sigma^2 = {tex(stddev)}^2 = {tex(stddev**2)}",
        ),
        "One standard deviation for every layer, whatever its size: right for one width, wrong for all others.",
        "keras.initializers.RandomNormal; torch.nn.init.normal_",
        Code(
            "{torch}",
            "{keras}",
            "{jax}",
            notes={
                "torch": "normal_ has standard deviation 1 unless told.",
                "jax": "jax.nn.initializers.normal(stddev=0.01) has mean 0 only.",
            },
        ),
        (
            number("mean", 0.0, -_ANY, _ANY, "Mean of every weight."),
            number("stddev", 0.05, 0.0, _ANY, "Standard deviation of every weight."),
        ),
        derived=_normal_code,
    ),
    Initializer(
        "truncated_normal",
        "plain",
        _truncated,
        "Keras's and JAX's truncated normal: the cut takes 12 % of the standard deviation away, and nothing puts it "
        "back; one scale for every layer.",
        "keras.initializers.TruncatedNormal; jax.nn.initializers.truncated_normal",
        Code(
            "{torch}",
            "{keras}",
            "{jax}",
            function="{function}",
            notes={
                "torch": "trunc_normal_ takes its bounds as values, not in standard deviations.",
                "keras": "TruncatedNormal cuts at two standard deviations only; on the torch backend it gives up after "
                "four tries and leaves about 5 weights in a million beyond them.",
                "jax": "jax.nn.initializers.truncated_normal(stddev=0.01, lower=-2, upper=2) has mean 0 only.",
            },
        ),
        (
            number("mean", 0.0, -_ANY, _ANY, "Mean of the normal before the cut."),
            number("stddev", 0.05, 0.0, _ANY, "Standard deviation before the cut, above 0.", exclusive=True),
            number("lower", -2.0, -100.0, 100.0, "Lower cut, in standard deviations from the mean."),
            number("upper", 2.0, -100.0, 100.0, "Upper cut, above the lower one."),
        ),
        derived=_truncated_code,
    ),
    Initializer(
        "trunc_normal",
        "plain",
        _trunc_normal,
        "PyTorch's truncated normal: its bounds are values, -2 and 2 by default, so a small normal is never cut and "
        "the default one is; one scale for every layer.",
        "torch.nn.init.trunc_normal_",
        Code(
            "{torch}",
            "{keras}",
            "{jax}",
            function="{function}",
            notes={
                "keras": "TruncatedNormal cuts at two standard deviations from its mean, whatever they are.",
                "jax": "truncated_normal takes its bounds in standard deviations, not as values.",
            },
        ),
        (
            number("mean", 0.0, -_ANY, _ANY, "Mean of the normal before the cut."),
            number("std", 1.0, 0.0, _ANY, "Standard deviation before the cut, above 0.", exclusive=True),
            number("a", -2.0, -_ANY, _ANY, "Lower bound, a value."),
            number("b", 2.0, -_ANY, _ANY, "Upper bound, above the lower one."),
        ),
        derived=_trunc_normal_code,
    ),
    Initializer(
        "random_uniform",
        "plain",
        lambda minval, maxval: fixed(
            laws.Uniform(minval, maxval),
            f"uniform between {number_text(minval)} and {number_text(maxval)}",
            rf"w \sim U({tex(minval)},\ {tex(maxval)}), \qquad"
            rf"\sigma^2 = \frac{{({tex(maxval)} - ({tex(minval)}))^2}}{{12}}"
            rf" = {tex((maxval - minval) ** 2 / 12)}",
        ),
        "One interval for every layer, whatever its size; its mean need not be zero.",
        "keras.initializers.RandomUniform; torch.nn.init.uniform_",
        Code(
            "torch.nn.init.uniform_(layer.weight, {minval}, {maxval})",
            "keras.initializers.RandomUniform({minval}, {maxval})",
            "{jax}",
            notes={
                "torch": "uniform_ goes from 0 to 1 unless told: its mean is not 0.",
                "jax": "jax.nn.initializers.uniform(scale=0.01) goes from 0 to its scale: its mean is not 0.",
            },
        ),
        (
            number("minval", -0.05, -_ANY, _ANY, "Lower end."),
            number("maxval", 0.05, -_ANY, _ANY, "Upper end, above the lower one."),
        ),
        derived=_uniform_code,
    ),
)

ALIASES = (
    Alias("ones", lambda: "constant(value=1)"),
    Alias(
        "normal",
        lambda mean, std: f"random_normal(mean={number_text(mean)}, stddev={number_text(std)})",
        (
            number("mean", 0.0, -_ANY, _ANY, "Mean of every weight."),
            number("std", 1.0, 0.0, _ANY, "Standard deviation of every weight."),
        ),
    ),
    Alias(
        "uniform",
        lambda a, b: f"random_uniform(minval={number_text(a)}, maxval={number_text(b)})",
        (number("a", 0.0, -_ANY, _ANY, "Lower end."), number("b", 1.0, -_ANY, _ANY, "Upper end.")),
    ),
)
