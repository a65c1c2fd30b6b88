"""The same choice written for Keras, PyTorch and JAX.

>>> print(line("he_normal", "keras", 64, 64))
keras.layers.Dense(64, kernel_initializer=keras.initializers.HeNormal())
"""

from __future__ import annotations

from winit.initializers import FRAMEWORKS, LayerShape, scheme

LABELS = {"keras": "Keras", "torch": "PyTorch", "jax": "JAX"}

_SNIPPETS = {
    "keras": """import keras

keras.utils.set_random_seed({seed})
layer = {code}
layer.build((None, {fan_in}))
""",
    "torch": """import torch

torch.manual_seed({seed})
layer = torch.nn.Linear({fan_in}, {fan_out})
{code}
""",
    "jax": """import jax
import jax.numpy as jnp

key = jax.random.key({seed})
weight = {code}
""",
}


def line(initializer: str, framework: str, fan_in: int | str, fan_out: int | str) -> str:
    """Return the line or lines with which a framework (keras, torch, jax) draws the initializer's weights.

    Raises `Refused` for an initializer that does not read.
    """
    return scheme(initializer).code(framework, fan_in, fan_out)


def snippet(initializer: str, framework: str, shape: LayerShape, seed: int) -> str:
    """Return a runnable piece of code that makes one layer of this shape with the initializer's weights.

    Biases are zero where the scheme says nothing; in PyTorch, whose own default draws them, that takes a line.
    """
    bound = scheme(initializer)
    code = bound.code(framework, shape.fan_in, shape.fan_out)
    if framework == "torch" and bound.rule.bias is None:
        code += "\ntorch.nn.init.zeros_(layer.bias)"
    if framework == "jax" and bound.rule.bias is not None:
        bias = bound.rule.bias(shape)
        code += (
            f"\nbias = jax.random.uniform(bias_key, ({shape.fan_out},),"
            f" minval={bias.minimum!r}, maxval={bias.maximum!r})"
        )
    text = _SNIPPETS[framework]
    if framework == "jax" and bound.rule.bias is not None:
        text = text.replace("key = jax.random.key({seed})", "key, bias_key = jax.random.split(jax.random.key({seed}))")
    return text.format(code=code, seed=seed, fan_in=shape.fan_in, fan_out=shape.fan_out)


__all__ = ["FRAMEWORKS", "LABELS", "line", "snippet"]
