"""The same choice written for PyTorch, Keras, JAX and Flax.

>>> print(line("he_normal", "keras", LayerShape(64, 64)))
layer = keras.layers.Dense(64, kernel_initializer=keras.initializers.HeNormal())
>>> print(snippet("kaiming_normal", "torch", LayerShape(64, 10), seed=0, bias="constant(value=0.1)"), end="")
import torch
<BLANKLINE>
torch.manual_seed(0)
layer = torch.nn.Linear(64, 10)
torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
torch.nn.init.constant_(layer.bias, 0.1)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from winit.initializers import FRAMEWORKS, LayerShape, scheme
from winit.initializers.biases import bias_rule

LABELS: Mapping[str, str] = MappingProxyType({"torch": "PyTorch", "keras": "Keras", "jax": "JAX", "flax": "Flax"})

_WIDTH = 100
_LAMBDA = "lambda key, shape, dtype: "
"""How JAX's initializers begin that its library lacks."""


@dataclass(frozen=True)
class _Layer:
    """One layer in the texts of a framework, the parameters and fans put in."""

    name: str
    fan_in: int
    fan_out: int
    weights: str
    function: str
    bias: tuple[str, ...]
    """Kind of law and its numbers; see `Code.bias`."""
    is_untouched: bool
    """Whether the layer is right as the framework makes it."""


def _layer(initializer: str, framework: str, shape: LayerShape, bias: str) -> _Layer:
    bound, rule = scheme(initializer), bias_rule(bias)
    bound.law(shape)  # refuses a layer that it has no answer for
    record, code = bound.record, bound.record.code
    texts = {p.name: p.write(bound.values[p.name]) for p in record.parameters}
    texts |= {"fan_in": str(shape.fan_in), "fan_out": str(shape.fan_out)}
    texts |= {"part": "[:, :-1]" if code.bias == ("column",) else ""}
    texts |= record.derived(shape, **bound.values)
    weights = {"torch": code.torch, "keras": code.keras, "jax": code.jax, "flax": code.jax}[framework].format(**texts)
    if rule.record.name == "scheme":
        biases = tuple(part.format(**texts) for part in code.bias)
    else:
        biases = (rule.record.name, *(p.write(rule.values[p.name]) for p in rule.record.parameters))
    return _Layer(
        record.name,
        shape.fan_in,
        shape.fan_out,
        weights,
        code.function.format(**texts),
        ("zeros",) if set(biases[1:]) == {"0"} else biases,
        not weights and rule.record.name == "scheme",
    )


def _assignment(name: str, function: str, *arguments: str) -> str:
    """Return `name = function(arguments)` in one line, or with one argument a line where that is too long."""
    text = f"{name} = {function}({', '.join(arguments)})"
    if len(text) <= _WIDTH:
        return text
    return f"{name} = {function}(\n" + "".join(f"    {_argument(argument)},\n" for argument in arguments) + ")"


def _argument(text: str) -> str:
    """Return an argument; what is too long for a line has its parentheses' content in the next one."""
    if len(text) <= _WIDTH - len("    ,"):
        return text
    head, found, body = text.partition(_LAMBDA)
    if found and not re.match(r"[\w.]+\(", body):
        return f"{head}{_LAMBDA}(\n        {body}\n    )"
    head, _, inner = text.removesuffix(")").partition("(")
    return f"{head}(\n        {inner}\n    )"


def _torch(layer: _Layer) -> str:
    made = f"layer = torch.nn.Linear({layer.fan_in}, {layer.fan_out})"
    match layer.bias:
        case ("column",):
            return (
                f"both = torch.from_numpy({layer.name}({layer.fan_in}, {layer.fan_out}))\n"
                "layer.weight.data.copy_(both[:, :-1])\nlayer.bias.data.copy_(both[:, -1])"
            )
        case ("uniform", low, high):
            bias = f"uniform_(layer.bias, {low}, {high})"
        case ("normal", stddev):
            bias = f"normal_(layer.bias, std={stddev})"
        case ("constant", value):
            bias = f"constant_(layer.bias, {value})"
        case _:  # said, since a layer draws its biases
            bias = "zeros_(layer.bias)"
    return made if layer.is_untouched else f"{layer.weights or made}\ntorch.nn.init.{bias}"


def _keras(layer: _Layer) -> str:
    match layer.bias:
        case ("column",):
            return (
                f"layer = keras.layers.Dense({layer.fan_out})\nlayer.build((None, {layer.fan_in}))\n"
                f"both = {layer.name}({layer.fan_in}, {layer.fan_out})\n"
                "layer.set_weights([both[:, :-1].T, both[:, -1]])"
            )
        case ("uniform", low, high):
            bias = [f"bias_initializer=keras.initializers.RandomUniform({low}, {high})"]
        case ("normal", stddev):
            bias = [f"bias_initializer=keras.initializers.RandomNormal(stddev={stddev})"]
        case ("constant", value):
            bias = [f"bias_initializer=keras.initializers.Constant({value})"]
        case _:
            bias = []
    arguments = (str(layer.fan_out), f"kernel_initializer={layer.weights}", *bias)
    return _assignment("layer", "keras.layers.Dense", *arguments)


def _jax(layer: _Layer) -> str:
    if layer.bias == ("column",):
        return (
            f"both = jnp.asarray({layer.name}({layer.fan_in}, {layer.fan_out}))\n"
            "weight, bias = both[:, :-1].T, both[:, -1]"
        )
    size = f"{layer.fan_in}, {layer.fan_out}"
    if layer.weights.startswith(_LAMBDA):
        # The lambda's body, with what it would be called with put in.
        body = re.sub(r", (dtype=)?dtype\b", "", layer.weights.removeprefix(_LAMBDA))
        weight = f"weight = {body.replace('*shape', size).replace('shape', f'({size})')}"
    else:
        weight = _assignment("weight", f"{layer.weights}", "key", f"({size})")
    match layer.bias:
        case ("uniform", low, high):
            drawn = ("bias_key", f"({layer.fan_out},)", f"minval={low}", f"maxval={high}")
            bias = _assignment("bias", "jax.random.uniform", *drawn)
        case ("normal", stddev):
            bias = f"bias = {stddev} * jax.random.normal(bias_key, ({layer.fan_out},))"
        case ("constant", value):
            bias = f"bias = jnp.full({layer.fan_out}, {float(value)})"  # a whole number would make integers
        case _:
            bias = f"bias = jnp.zeros({layer.fan_out})"
    return f"{weight}\n{bias}"


def _flax(layer: _Layer) -> str:
    match layer.bias:
        case ("column",):
            return (
                f"layer = nn.Dense({layer.fan_out})\n"
                f"both = jnp.asarray({layer.name}({layer.fan_in}, {layer.fan_out}))\n"
                'params = {"kernel": both[:, :-1].T, "bias": both[:, -1]}'
            )
        case ("uniform", low, high):
            bias = [f"bias_init={_LAMBDA}jax.random.uniform(key, shape, dtype, minval={low}, maxval={high})"]
        case ("normal", stddev):
            bias = [f"bias_init=nn.initializers.normal({stddev})"]
        case ("constant", value):
            bias = [f"bias_init=nn.initializers.constant({value})"]
        case _:
            bias = []
    weights = layer.weights.replace("jax.nn.initializers.", "nn.initializers.")
    return _assignment("layer", "nn.Dense", str(layer.fan_out), f"kernel_init={weights}", *bias)


_WRITERS: Mapping[str, Callable[[_Layer], str]] = {"torch": _torch, "keras": _keras, "jax": _jax, "flax": _flax}
_LOG_PRIOR = "# log_prior: in the output layer, the biases are the logarithms of the class frequencies instead"


def _written(layer: _Layer, framework: str) -> tuple[str, str]:
    """Return the NumPy function that a framework needs, empty where it has the scheme, and what it runs."""
    body = _WRITERS[framework](layer)
    if layer.bias == ("log_prior",):
        body += f"\n{_LOG_PRIOR}"
    is_called = re.search(rf"(?<![.\w]){layer.name}\(", body)
    return layer.function if is_called else "", body


def line(initializer: str, framework: str, shape: LayerShape, bias: str = "scheme") -> str:
    """Return the line or lines with which a framework starts a layer of this shape as the initializer says.

    They fill `layer` (PyTorch), make it (Keras, Flax) or draw `weight` and `bias` (JAX). `bias` is the text form of
    a rule of `BIASES`. A scheme that the framework lacks comes with a short NumPy function. Raises `Refused` for an
    initializer or a rule that does not read, or has no answer for the layer.
    """
    function, body = _written(_layer(initializer, framework, shape, bias), framework)
    return f"{function}\n\n{body}" if function else body


def snippet(initializer: str, framework: str, shape: LayerShape, seed: int, bias: str = "scheme") -> str:
    """Return a runnable piece of code that makes one layer of this shape as the initializer says.

    Biases are zero where the scheme says nothing. Raises `Refused` as `line` does.
    """
    layer = _layer(initializer, framework, shape, bias)
    function, body = _written(layer, framework)
    run = _FRAMES[framework](body, layer, seed)
    if re.search(r"\brng\b", function):
        run = f"rng = np.random.default_rng({seed})\n{run}"
    text = f"{function}\n\n{run}\n" if function else f"{run}\n"
    imports = "".join(f"import {module}\n" for used, module in _IMPORTS if re.search(rf"(?<![.\w]){used}\.", text))
    return f"{imports}\n\n{text}" if function else f"{imports}\n{text}"


_IMPORTS = (
    ("nn", "flax.linen as nn"),
    ("jax", "jax"),
    ("jnp", "jax.numpy as jnp"),
    ("keras", "keras"),
    ("np", "numpy as np"),
    (r"scipy\.linalg", "scipy.linalg"),
    (r"scipy\.stats", "scipy.stats"),
    ("torch", "torch"),
)
"""What a text uses, and the module that it then imports."""


def _torch_frame(body: str, layer: _Layer, seed: int) -> str:
    made = "" if body.startswith("layer =") else f"layer = torch.nn.Linear({layer.fan_in}, {layer.fan_out})\n"
    return f"torch.manual_seed({seed})\n{made}{body}"


def _keras_frame(body: str, layer: _Layer, seed: int) -> str:
    built = "" if layer.bias == ("column",) else f"\nlayer.build((None, {layer.fan_in}))"
    return f"keras.utils.set_random_seed({seed})\n{body}{built}"


def _jax_frame(body: str, layer: _Layer, seed: int) -> str:
    keys = [name for name in ("key", "bias_key") if re.search(rf"\b{name}\b", body)]
    made = {2: f"jax.random.split(jax.random.key({seed}))", 1: f"jax.random.key({seed})"}
    return f"{', '.join(keys)} = {made[len(keys)]}\n{body}" if keys else body


def _flax_frame(body: str, layer: _Layer, seed: int) -> str:
    if layer.bias == ("column",):
        return body
    return f'key = jax.random.key({seed})\n{body}\nparams = layer.init(key, jnp.zeros((1, {layer.fan_in})))["params"]'


_FRAMES: Mapping[str, Callable[[str, _Layer, int], str]] = {
    "torch": _torch_frame,
    "keras": _keras_frame,
    "jax": _jax_frame,
    "flax": _flax_frame,
}

__all__ = ["FRAMEWORKS", "LABELS", "line", "snippet"]
