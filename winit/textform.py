"""Text forms: `name` or `name(parameter=value, ...)`, read by a small bounded parser.

The parser never evaluates anything: it knows names, numbers, commas and parentheses, at most
200 characters of them. What a name means and which parameters it has is the catalogue's business.

>>> parse("random_normal(stddev=0.01)")
('random_normal', {'stddev': '0.01'})
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from winit.fields import BadInput, Field, Refused, nearest, shown

LIMIT = 200
_FORM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\((.*)\))?\s*", re.ASCII | re.DOTALL)
_ARGUMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*([A-Za-z0-9_.+-]+)\s*", re.ASCII)
_SHAPE = "a name, or name(parameter=value, ...), of at most 200 characters"


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Split a text form into its name and the texts of its parameters.

    Raises `Refused` when the text has another shape, is longer than 200 characters or names a
    parameter twice.
    """
    if len(text) > LIMIT:
        raise Refused(_SHAPE)
    form = _FORM.fullmatch(text)
    if form is None:
        raise Refused(_SHAPE)
    name, inside = form.groups()
    arguments: dict[str, str] = {}
    if inside is not None and inside.strip():
        for part in inside.split(","):
            argument = _ARGUMENT.fullmatch(part)
            if argument is None or argument[1] in arguments:
                raise Refused(f"{_SHAPE}, each parameter once")
            arguments[argument[1]] = argument[2]
    return name, arguments


def bind(name: str, arguments: Mapping[str, str], parameters: Sequence[Field]) -> dict[str, Any]:
    """Return the values of all parameters, defaults filled in.

    Raises `Refused`, naming the parameter, for an unknown one or a value out of its range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {parameter.name: parameter.default for parameter in parameters}
    for key, text in arguments.items():
        if key not in known:
            takes = "the parameters " + ", ".join(known) if known else "no parameters"
            raise Refused(f"{name} with {takes}{nearest(key, tuple(known))}")
        try:
            values[key] = known[key].read(text)
        except BadInput as problem:
            raise Refused(f"for {key} {problem.allowed}, not {shown(text)}") from None
    return values


def write(name: str, values: Mapping[str, Any], parameters: Sequence[Field]) -> str:
    """Return the canonical text: parameters in declared order, those at their default left out."""
    stated = [f"{p.name}={p.write(values[p.name])}" for p in parameters if values[p.name] != p.default]
    return f"{name}({', '.join(stated)})" if stated else name
