"""Text forms: name(parameter=value, ...)."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from winit import textform
from winit.fields import Choice, Field, Integer, Real, Refused

PARAMETERS = (
    Field("mean", 0.0, Real(-sys.float_info.max, sys.float_info.max), "mean", ""),
    Field("count", 3, Integer(1, 100), "count", ""),
    Field("mode", "fan_in", Choice(("fan_in", "fan_out", "fan_avg")), "mode", ""),
)

VALUES = st.fixed_dictionaries(
    {
        "mean": st.floats(allow_nan=False, allow_infinity=False),
        "count": st.integers(1, 100),
        "mode": st.sampled_from(("fan_in", "fan_out", "fan_avg")),
    }
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True)


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


@given(NAMES, VALUES)
def test_write_then_parse_and_bind_is_the_identity(name: str, values: dict[str, Any]) -> None:
    text = textform.write(name, values, PARAMETERS)
    found, arguments = textform.parse(text)
    assert found == name
    assert textform.bind(found, arguments, PARAMETERS) == values
    assert textform.write(name, textform.bind(found, arguments, PARAMETERS), PARAMETERS) == text


@given(
    NAMES,
    st.dictionaries(NAMES, st.from_regex(r"[A-Za-z0-9_.+-]{1,10}", fullmatch=True), max_size=4),
    st.sampled_from(["", " ", "\t", "\n", "  "]),
)
def test_blanks_do_not_matter(name: str, arguments: dict[str, str], blank: str) -> None:
    inside = ",".join(f"{blank}{key}{blank}={blank}{value}{blank}" for key, value in arguments.items())
    text = f"{blank}{name}{blank}({inside}){blank}"
    if len(text) > textform.LIMIT:
        with pytest.raises(Refused):
            textform.parse(text)
    else:
        assert textform.parse(text) == (name, arguments)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("zeros", ("zeros", {})),
        ("zeros()", ("zeros", {})),
        ("zeros ( )", ("zeros", {})),
        ("normal(stddev=0.01)", ("normal", {"stddev": "0.01"})),
        ("f(b=-1e-3, a=fan_out)", ("f", {"b": "-1e-3", "a": "fan_out"})),
        ("x" * 300, ("x" * 300, {})),
    ],
)
def test_parse(text: str, form: tuple[str, dict[str, str]]) -> None:
    assert textform.parse(text) == form


REFUSED = ["", " ", "()", "(a=1)", "1zeros", "ze ros", "zeros(", "zeros)", "zeros(a)", "zeros(a=)", "zeros(=1)"]
REFUSED += ["zeros(a=1", "zeros(a=1))", "zeros((a=1))", "zeros(a=1)(b=2)", "zeros(a=1)x", "zeros(a=1,)", "zeros(,)"]
REFUSED += ["zeros(a=1,,b=2)", "zeros(a=1;b=2)", "zeros(a=1, a=2)", "zeros(a==1)", "zeros(a=b=1)", "zeros(a=1 2)"]
REFUSED += ["zeros(a='1')", "zeros(a=f(1))", "zeros(a=1/2)", "zeros(a=[1])", "zéros", "zeros(é=1)", "zeros(a=١)"]
REFUSED += ["zeros\x00", "zeros(a=1\x00)", "\x00", "__import__('os')", "zeros(a={0})", "x" * 301, "zeros" + " " * 296]
REFUSED += ["zeros(a=\u2028)", "zeros\u00a0", "zeros;zeros", "z" * 100_000, "f(" + "a=1," * 100_000 + ")", "(" * 200]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:30]))
def test_parse_refuses_every_other_shape(text: str) -> None:
    with pytest.raises(Refused) as caught:
        textform.parse(text)
    assert caught.value.allowed.startswith("a name, or name(parameter=value, ...), of at most 300 characters")


@pytest.mark.parametrize("text", ["zeros(", "zeros(a=1", "zeros)", 'custom(a="1)'])
def test_unbalanced_text_is_told_so(text: str) -> None:
    with pytest.raises(Refused, match="each parenthesis and quote closed"):
        textform.parse(text)


def test_quotes_hold_what_is_no_token() -> None:
    text = 'custom(law=normal, deviation="min(1, 2/fan_in) * 3", count=2)'
    assert textform.parse(text) == ("custom", {"law": "normal", "deviation": "min(1, 2/fan_in) * 3", "count": "2"})


def test_a_parameter_given_twice_is_told_so() -> None:
    with pytest.raises(Refused, match="each parameter once"):
        textform.parse("zeros(a=1, a=1)")


@given(st.text(max_size=350) | st.text(alphabet="ab(=,) ;.1-\n", max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        name, arguments = textform.parse(text)
    except Refused:
        return
    assert name.isidentifier()
    assert name.isascii()
    for key, value in arguments.items():
        assert key.isidentifier()
        assert value
        assert value.isascii()


def test_bind_fills_in_the_defaults() -> None:
    assert textform.bind("f", {}, PARAMETERS) == {"mean": 0.0, "count": 3, "mode": "fan_in"}
    assert textform.bind("f", {"count": "7"}, PARAMETERS) == {"mean": 0.0, "count": 7, "mode": "fan_in"}
    assert textform.bind("f", {}, ()) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stddev": "1"}, "f with the parameters mean, count, mode"),
        ({"meen": "1"}, "f with the parameters mean, count, mode (did you mean mean?)"),
        ({"count": "0"}, "for count a whole number from 1 to 100, not '0'"),
        ({"count": "nan"}, "for count a whole number from 1 to 100, not 'nan'"),
        ({"mode": "fan"}, "for mode one of fan_in, fan_out, fan_avg"),
        ({"mean": "inf"}, "for mean a number from "),
        ({"mean": "1e999"}, "for mean a number from "),
        ({"mean": "9" * 150}, "for mean a number from "),
    ],
)
def test_bind_names_the_parameter_and_its_range(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(Refused) as caught:
        textform.bind("f", arguments, PARAMETERS)
    assert caught.value.allowed.startswith(message)


def test_bind_to_a_name_without_parameters() -> None:
    with pytest.raises(Refused, match=r"^f with no parameters$"):
        textform.bind("f", {"a": "1"}, ())


def test_write_leaves_defaults_out_and_keeps_the_declared_order() -> None:
    values = {"mode": "fan_out", "mean": 0.0, "count": 4}
    assert textform.write("f", values, PARAMETERS) == "f(count=4, mode=fan_out)"
    assert textform.write("f", {"mean": 0.0, "count": 3, "mode": "fan_in"}, PARAMETERS) == "f"
