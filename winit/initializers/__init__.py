"""The initializers: one record each, with its law, formula, source and how the libraries write it.

A record is a scheme with parameters; `scheme` turns a text form such as `random_normal(stddev=0.01)`
into a `Scheme`, which draws the weights and biases of a layer. The named scalings all follow from
`variance_scaling`, as in `jax.nn.initializers`. Adding an initializer is adding one record.

>>> round(scheme("he_normal").law(LayerShape(fan_in=64, fan_out=64)).variance, 12)
0.03125
>>> scheme("kaiming_uniform").text
'he_uniform'
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from winit.fields import BadInput, Form, Refused
from winit.initializers import custom, matrices, papers, plain, scaling
from winit.initializers.formula import Formula
from winit.initializers.layer import LayerShape
from winit.initializers.record import Code, Initializer, Rule, Scheme
from winit.initializers.scaling import variance_scaling
from winit.textform import Catalogue

FAMILIES = ("glorot", "he", "lecun", "orthogonal", "plain", "library", "constant", "data", "own")
"""Families of initializers, in the order of the palette's hues."""

FRAMEWORKS = ("torch", "keras", "jax", "flax")

INITIALIZERS: Catalogue[Initializer] = Catalogue(
    (*plain.RECORDS, *scaling.RECORDS, *matrices.RECORDS, *papers.RECORDS, custom.RECORD),
    (*plain.ALIASES, *scaling.ALIASES),
)
"""The catalogue, by name, in the order in which it is shown."""

LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "delta_orthogonal (Xiao et al. 2018), dirac": "draw convolution kernels; an MLP has none.",
        "mimetic, T-Fixup, MultiheadAttention's packed Xavier": "draw attention weights; an MLP has none.",
        "Embedding, RNN and ConvTranspose defaults": "belong to layers that an MLP does not have.",
        "GradInit (Zhu et al. 2021), MetaInit (Dauphin & Schoenholz 2019)": "learn the scale of each layer by gradient "
        "descent before training: a training run, not a law to draw from.",
        "Fixup, ReZero, SkipInit, DeepNorm, GPT-2's 1/sqrt(2L), zero gamma": "set the scale of residual branches or of "
        "normalisation, not the law of a plain layer's weights.",
        "muP (Yang & Hu 2021)": "sets learning rates by width together with the readout's scale; the scale alone is "
        'custom(standard_deviation="1/fan_in").',
    }
)
"""Schemes that are not drawn here, and why."""


@lru_cache(maxsize=512)
def scheme(text: str) -> Scheme:
    """Return the initializer that a text form names.

    Raises `Refused` for text of another shape, unknown names and parameters, and values out of range or
    that do not fit together. Whether it has an answer for a layer is `Scheme.law`'s to say.
    """
    return Scheme.of(INITIALIZERS.read(text))


def canonical(text: str) -> str:
    """Return the canonical spelling of a text form. Raises `Refused` as `scheme` does."""
    return scheme(text).text


def require_answer(text: str, shape: LayerShape) -> None:
    """Raise `BadInput`, with the reason, where an initializer has no answer for a layer."""
    try:
        scheme(text).law(shape)
    except Refused as refusal:
        raise BadInput("initializer", text, refusal.allowed) from None


FORM: Form = INITIALIZERS.form(scheme)
"""The kind of a field that holds an initializer."""

__all__ = ["FAMILIES", "FORM", "FRAMEWORKS", "INITIALIZERS", "LEFT_OUT", "Code", "Formula", "Initializer", "LayerShape"]
__all__ += ["Rule", "Scheme", "canonical", "require_answer", "scheme", "variance_scaling"]
