"""Every page, run by Streamlit's own test harness: the address both ways, bad input, refusals, buttons."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.testing.v1 import AppTest

from winit import permalink
from winit.activations import ACTIVATIONS, activation
from winit.budget import Limit
from winit.datasets import DATASETS
from winit.fields import fields_of
from winit.initializers import FRAMEWORKS, LayerShape
from winit.layers import NORMALIZATIONS, RESIDUALS
from winit.lenses import DistributionsKnobs
from winit.optimizers import OPTIMIZERS, SCHEDULES
from winit.recording import unpack
from winit.spec import Spec
from winit.training import dense_steps, train
from winit.translator import TRANSLATIONS, explain
from winit.ui import address as page_address
from winit.ui.live.presets import PRESETS
from winit.ui.pages import PAGES

ROOT = Path(__file__).resolve().parent.parent
UI = ROOT / "winit" / "ui"
TINY = {"depth": "1", "width": "4", "steps": "5", "seeds": "2"}
TIMEOUT = 60

Query = Mapping[str, str | list[str]]


@pytest.fixture(autouse=True)
def _usual_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Price computations as on a host that sets no limits of its own."""
    monkeypatch.delenv("WINIT_SECONDS", raising=False)
    monkeypatch.delenv("WINIT_MEGABYTES", raising=False)


def visit(slug: str, query: Query | None = None) -> AppTest:
    """Open a page by its address in a new session."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT)
    if slug:
        at.switch_page(PAGES[slug].script)
    for name, value in (query or {}).items():
        at.query_params[name] = value
    return at.run()


def address(at: AppTest) -> dict[str, str]:
    """Return the address that the page wrote, one value for each parameter."""
    return {name: value[0] if isinstance(value, list) else value for name, value in at.query_params.items()}


def plain(markdown: str) -> str:
    """Return markdown with its backslash escapes undone: what a reader sees."""
    return re.sub(r"\\(.)", r"\1", markdown)


def problems(at: AppTest) -> list[str]:
    """Return the messages about refused values, as markdown."""
    return [found.value for found in at.markdown if found.value.startswith(":material/info:")]


def refusals(at: AppTest) -> list[str]:
    """Return the messages that say why nothing is computed, as read."""
    return [plain(found.value) for found in at.markdown if "Not computed." in found.value]


def notes(at: AppTest) -> list[str]:
    """Return the messages that say what is left out of a page, as read."""
    return [plain(found.value) for found in at.markdown if "Left out." in found.value]


def charts(at: AppTest) -> list[str]:
    """Return what the figures of a page are made of, as text."""
    return [found.proto.spec for found in at.get("plotly_chart")]


def stands(at: AppTest, slug: str) -> None:
    """Assert that the page shows its question and no exception."""
    assert not at.exception, [found.message for found in at.exception]
    assert [found.value for found in at.title] == [PAGES[slug].lens.question]


def answer(at: AppTest) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what the page last gave the player: header and arrays."""
    (found,) = [found.proto for found in at.get("bidi_component") if found.proto.component_name == "winit_player"]
    return unpack(found.bytes)


def ask(at: AppTest, wanted: object) -> AppTest:
    """Run the page as if the player had asked for something."""
    at.session_state["player"] = {"want": wanted}
    return at.run()


def play(at: AppTest, frames: int) -> dict[str, Any]:
    """Let the player ask for its next frames, until it has so many; return the last header."""
    for _ in range(100):
        header, _ = answer(at)
        have = header["first"] + header["count"]
        if have >= frames:
            return header
        ask(at, {"run": header["run"], "have": have, "n": min(64, frames - have)})
    raise AssertionError("the frames do not come")


def told(at: AppTest) -> list[bool]:
    """Return, for each widget that holds a value, whether the page told the browser to take that of the session."""
    found: list[bool] = []

    def walk(block: Any) -> None:
        for child in getattr(block, "children", {}).values():
            walk(child)
            proto = getattr(child, "proto", None)
            if proto is not None and "set_value" in proto.DESCRIPTOR.fields_by_name:
                found.append(proto.set_value)

    walk(at._tree)
    return found


def network(at: AppTest) -> Spec:
    """Return the network that the session holds."""
    held = at.session_state["_network"]
    assert isinstance(held, Spec)
    return held


def button(at: AppTest, text: str) -> Any:
    """Return the button with a text in its label."""
    return next(found for found in at.button if text in found.label)


def caption(at: AppTest, text: str) -> str:
    """Return the caption that contains a text."""
    return next(found.value for found in at.caption if text in found.value)


def texts_of(spec: Spec) -> dict[str, str]:
    """Return the fields of a network as they stand in an address."""
    return {field.name: field.write(getattr(spec, field.name)) for field in fields_of(Spec)}


EVERY_PAGE = pytest.mark.parametrize("slug", list(PAGES))


@EVERY_PAGE
def test_page_opens_with_its_question(slug: str) -> None:
    at = visit(slug)
    stands(at, slug)
    assert address(at) == {"v": "1"}
    assert network(at) == Spec()
    assert not problems(at)
    assert len(at.get("page_link")) >= len(PAGES)


@EVERY_PAGE
def test_every_field_of_the_network_has_a_widget(slug: str) -> None:
    at = visit(slug)
    kinds = ("slider", "number_input", "text_input", "selectbox", "button_group")
    keys = {found.key for kind in kinds for found in at.get(kind)}
    assert {field.name for field in fields_of(Spec)} <= keys


WIDGETS: list[tuple[str, str, Any, str]] = [
    ("slider", "depth", 3, "3"),
    ("text_input", "width", "16", "16"),
    ("selectbox", "activation", "tanh", "tanh"),
    ("selectbox", "initializer", "glorot_uniform", "glorot_uniform"),
    ("selectbox", "bias", "zeros", "zeros"),
    ("button_group", "output", "small", "small"),
    ("button_group", "normalization", "layer", "layer"),
    ("button_group", "residual", "plain", "plain"),
    ("selectbox", "dataset", "moons", "moons"),
    ("number_input", "batch_size", 32, "32"),
    ("selectbox", "optimizer", "adam", "adam"),
    ("number_input", "learning_rate", 0.1, "0.1"),
    ("button_group", "schedule", "cosine", "cosine"),
    ("number_input", "weight_decay", 0.01, "0.01"),
    ("number_input", "clip", 1.0, "1"),
    ("number_input", "steps", 20, "20"),
    ("number_input", "seed", 7, "7"),
]


def move(at: AppTest, kind: str, key: str, value: Any) -> AppTest:
    """Set a widget and run the page."""
    widget = next(found for found in at.get(kind) if found.key == key)
    widget.set_value(value)
    return at.run()


@EVERY_PAGE
def test_widgets_of_the_network_write_the_address(slug: str) -> None:
    at = visit(slug, {"depth": "2", "width": "8", "steps": "5"})
    for kind, key, value, text in WIDGETS:
        move(at, kind, key, value)
        stands(at, slug)
        assert texts_of(network(at))[key] == text
        assert address(at)[key] == text
    assert set(address(at)) == {"v", *(key for _, key, _, _ in WIDGETS)}


def test_the_widgets_are_all_tried() -> None:
    assert [key for _, key, _, _ in WIDGETS] == [field.name for field in fields_of(Spec)]


@EVERY_PAGE
def test_widths_by_layer_travel(slug: str) -> None:
    at = visit(slug, {"depth": "3", "width": "8", "steps": "5"})
    at.text_input(key="width").set_value("8-6").run()
    stands(at, slug)
    assert not problems(at)
    assert not refusals(at)
    assert network(at) == Spec(width=(8, 6), steps=5)
    assert address(at) == {"v": "1", "depth": "2", "width": "8-6", "steps": "5"}
    assert at.slider(key="depth").value == 2  # the depth follows
    # A depth that the widths do not have goes back to theirs.
    at.slider(key="depth").set_value(7).run()
    stands(at, slug)
    assert at.slider(key="depth").value == 2
    assert at.text_input(key="width").value == "8-6"
    assert address(at) == {"v": "1", "depth": "2", "width": "8-6", "steps": "5"}

    other = visit(slug, {"width": "8-6", "steps": "5"})
    stands(other, slug)
    assert not problems(other)
    assert network(other) == network(at)
    assert address(other) == address(at)
    assert other.text_input(key="width").value == "8-6"
    assert other.slider(key="depth").value == 2
    # Equal widths are one again, and the depth is free.
    other.text_input(key="width").set_value("6-6-6").run()
    assert address(other) == {"v": "1", "depth": "3", "width": "6", "steps": "5"}
    assert other.text_input(key="width").value == "6"
    other.slider(key="depth").set_value(2).run()
    assert network(other) == Spec(depth=2, width=6, steps=5)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "text",
    ["", "0", "-", "8-", "8,4", "8 4", "1025", "many", "8-0", "-".join(["4"] * 17), "１６", "**8**", "<b>", "9" * 300],
    ids=lambda text: ascii(text)[:12],
)
def test_a_width_that_is_none_is_named_and_the_last_one_stays(text: str) -> None:
    at = visit("distributions", {"width": "8-6"})
    at.text_input(key="width").set_value(text).run()
    stands(at, "distributions")
    (message,) = problems(at)
    assert plain(message).startswith(":material/info: width: '")
    assert "a whole number from 1 to 1024, or at most 16 of them joined by -" in plain(message)
    assert "In use: 8-6." in plain(message)
    assert not re.search(r"(?<!\\)[<\[`$]", message.removeprefix(":material/info:"))
    assert address(at) == {"v": "1", "depth": "2", "width": "8-6"}
    assert at.text_input(key="width").value == "8-6"
    at.text_input(key="width").set_value("12").run()
    assert not problems(at)
    assert address(at) == {"v": "1", "depth": "2", "width": "12"}


@EVERY_PAGE
@pytest.mark.parametrize(
    ("normalization", "residual"), [*zip(NORMALIZATIONS, RESIDUALS, strict=True), ("batch", "zero"), ("none", "plain")]
)
def test_blocks_are_shown_on_every_page(slug: str, normalization: str, residual: str) -> None:
    query = {"depth": "3", "width": "8", "steps": "5", "normalization": normalization, "residual": residual}
    at = visit(slug, query)
    stands(at, slug)
    assert not problems(at)
    assert not refusals(at)
    assert address(at) == {"v": "1", **{name: text for name, text in query.items() if text != "none"}}
    values = {found.key: found.value for found in at.get("button_group")}
    assert (values["normalization"], values["residual"]) == (normalization, residual)


@EVERY_PAGE
def test_a_default_leaves_the_address(slug: str) -> None:
    at = visit(slug, {"depth": "2", "width": "8", "steps": "5", "seed": "3"})
    move(at, "number_input", "seed", 0)
    assert address(at) == {"v": "1", "depth": "2", "width": "8", "steps": "5"}


def test_parameters_of_an_initializer_follow_the_choice() -> None:
    at = visit("distributions")
    at.selectbox(key="initializer").set_value("random_normal").run()
    stands(at, "distributions")
    at.number_input(key="initializer.random_normal.stddev").set_value(0.5).run()
    stands(at, "distributions")
    assert address(at)["initializer"] == "random_normal(stddev=0.5)"
    assert network(at).initializer == "random_normal(stddev=0.5)"
    at.selectbox(key="initializer").set_value("he_normal").run()
    assert address(at) == {"v": "1"}
    assert not [found for found in at.number_input if str(found.key).startswith("initializer.")]


def test_variance_scaling_has_all_its_parameters() -> None:
    at = visit("", {"initializer": "variance_scaling(scale=3, mode=fan_out)", "depth": "2", "width": "8"})
    stands(at, "")
    assert at.number_input(key="initializer.variance_scaling.scale").value == 3.0
    assert network(at).initializer.startswith("variance_scaling(")
    assert "fan_out" in address(at)["initializer"]
    at.number_input(key="initializer.variance_scaling.scale").set_value(2.5).run()
    assert "scale=2.5" in address(at)["initializer"]
    assert "fan_out" in address(at)["initializer"]


FORMS = [
    ("activation", "leaky_relu", "slope", 0.01, 0.2, "leaky_relu(slope=0.2)"),
    ("activation", "sine", "omega", 30.0, 1.0, "sine(omega=1)"),
    ("bias", "constant", "value", 0.01, -0.5, "constant(value=-0.5)"),
    ("bias", "normal", "stddev", 0.05, 0.25, "normal(stddev=0.25)"),
]


@pytest.mark.sampled(3)
@EVERY_PAGE
@pytest.mark.parametrize(("field", "name", "parameter", "default", "value", "text"), FORMS)
def test_parameters_of_activations_and_biases_travel(
    slug: str, field: str, name: str, parameter: str, default: float, value: float, text: str
) -> None:
    small = {"depth": "2", "width": "8", "steps": "5"}
    key = f"{field}.{name}.{parameter}"
    at = visit(slug, small)
    assert key not in {found.key for found in at.number_input}
    at.selectbox(key=field).set_value(name).run()
    assert at.number_input(key=key).value == default
    assert address(at) == {"v": "1", **small, field: name}
    at.number_input(key=key).set_value(value).run()
    stands(at, slug)
    assert address(at) == {"v": "1", **small, field: text}
    assert getattr(network(at), field) == text

    other = visit(slug, {**small, field: text})
    stands(other, slug)
    assert not problems(other)
    assert other.selectbox(key=field).value == name
    assert other.number_input(key=key).value == value
    assert address(other) == address(at)
    # A parameter back at its default leaves the address, and one of another record is not shown.
    other.number_input(key=key).set_value(default).run()
    assert address(other) == {"v": "1", **small, field: name}
    other.selectbox(key=field).set_value({"activation": "relu", "bias": "scheme"}[field]).run()
    assert address(other) == {"v": "1", **small}
    assert key not in {found.key for found in other.number_input}


def test_reset_forgets_the_parameters_of_forms() -> None:
    query = {"activation": "leaky_relu(slope=0.2)", "bias": "constant(value=0.5)", "output": "zeros", "width": "8"}
    at = visit("distributions", query)
    at.button(key="reset").click().run()
    assert address(at) == {"v": "1"}
    at.selectbox(key="activation").set_value("leaky_relu").run()
    at.selectbox(key="bias").set_value("constant").run()
    assert at.number_input(key="activation.leaky_relu.slope").value == 0.01
    assert at.number_input(key="bias.constant.value").value == 0.01
    assert address(at) == {"v": "1", "activation": "leaky_relu", "bias": "constant"}


EXPRESSION = "initializer.custom.standard_deviation"


@EVERY_PAGE
def test_the_expression_of_ones_own_law_travels(slug: str) -> None:
    small = {"depth": "2", "width": "8", "steps": "5"}
    at = visit(slug, small)
    assert EXPRESSION not in {found.key for found in at.text_input}
    at.selectbox(key="initializer").set_value("custom").run()
    stands(at, slug)
    assert at.text_input(key=EXPRESSION).value == "gain*sqrt(1/fan_in)"
    assert address(at) == {"v": "1", **small, "initializer": "custom"}
    at.text_input(key=EXPRESSION).set_value("2*sqrt(1 / (fan_in + fan_out))").run()
    at.selectbox(key="initializer.custom.distribution").set_value("laplace").run()
    stands(at, slug)
    text = 'custom(distribution=laplace, standard_deviation="2*sqrt(1 / (fan_in + fan_out))")'
    assert address(at) == {"v": "1", **small, "initializer": text}

    other = visit(slug, {**small, "initializer": text})
    stands(other, slug)
    assert not problems(other)
    assert other.text_input(key=EXPRESSION).value == "2*sqrt(1 / (fan_in + fan_out))"
    assert other.selectbox(key="initializer.custom.distribution").value == "laplace"
    assert address(other) == address(at)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "fan_inn",
        "__import__('os')",
        "().__class__",
        "2**",
        'a"b',
        "1;2",
        "1)",
        "x" * 300,
        "1" * 201,
        "sqrt(" * 30 + "1" + ")" * 30,
        "sqrt(1\n)",
        "<img src=x>",
    ],
    ids=lambda text: text[:20],
)
def test_an_expression_that_is_none_is_named_and_the_last_one_stays(expression: str) -> None:
    query = {"initializer": "custom(standard_deviation=1/fan_in)".replace("1/fan_in", '"1/fan_in"'), "width": "8"}
    at = visit("distributions", query)
    at.text_input(key=EXPRESSION).set_value(expression).run()
    stands(at, "distributions")
    (message,) = problems(at)
    assert plain(message).startswith(":material/info: initializer: ")
    assert not re.search(r"(?<!\\)[<\[`$]", message.removeprefix(":material/info:"))
    assert address(at) == {"v": "1", **query}
    assert at.text_input(key=EXPRESSION).value == "1/fan_in"
    at.text_input(key=EXPRESSION).set_value("2/fan_in").run()
    assert not problems(at)
    assert "2/fan_in" in address(at)["initializer"]


OWN: list[tuple[str, str, str, Any, str]] = [
    ("distributions", "multiselect", "initializers", ["orthogonal", "he_uniform"], "orthogonal;he_uniform"),
    ("distributions", "slider", "layer", 1, "1"),
    ("distributions", "number_input", "fan_in", 12, "12"),
    ("distributions", "number_input", "fan_out", 13, "13"),
    ("distributions", "number_input", "samples", 5000, "5000"),
    ("distributions", "button_group", "unit", "deviations", "deviations"),
    ("distributions", "button_group", "view", "tails", "tails"),
    ("distributions", "button_group", "view", "cumulative", "cumulative"),
    ("distributions", "button_group", "image", "svg", "svg"),
    ("distributions", "selectbox", "translate", list(TRANSLATIONS)[-1], list(TRANSLATIONS)[-1]),
    ("live", "slider", "seeds", 2, "2"),
    ("compare", "slider", "seeds", 3, "3"),
    ("compare", "multiselect", "initializers", ["orthogonal"], "orthogonal"),
    ("compare", "multiselect", "learning_rates", ["0.1", "0.01"], "0.1;0.01"),
    ("compare", "button_group", "curve", "test_accuracy", "test_accuracy"),
    ("compare", "button_group", "curve", "loss_log", "loss_log"),
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("slug", "kind", "name", "value", "text"), OWN)
def test_knobs_of_a_lens_both_ways(slug: str, kind: str, name: str, value: Any, text: str) -> None:
    small = {"depth": "1", "width": "4", "steps": "5"}
    at = visit(slug, small)
    move(at, kind, f"{slug}:{name}", value)
    stands(at, slug)
    assert address(at) == {"v": "1", **small, name: text}

    other = visit(slug, {**small, name: text})
    stands(other, slug)
    assert not problems(other)
    widget = next(found for found in other.get(kind) if found.key == f"{slug}:{name}")
    assert widget.value == value
    assert address(other) == address(at)


@EVERY_PAGE
def test_address_reaches_the_widgets_and_the_network(slug: str) -> None:
    texts = {key: text for _, key, _, text in WIDGETS} | {"width": "8", "steps": "5"}
    at = visit(slug, {"v": "1", **texts})
    stands(at, slug)
    assert not problems(at)
    assert address(at) == {"v": "1", **texts}
    for kind, key, _, _ in WIDGETS:
        field = next(field for field in fields_of(Spec) if field.name == key)
        widget = next(found for found in at.get(kind) if found.key == key)
        assert field.write(widget.value) == texts[key]
        assert texts_of(network(at))[key] == texts[key]


@EVERY_PAGE
def test_a_new_address_in_the_same_session_replaces_all(slug: str) -> None:
    at = visit(slug, {"depth": "3", "width": "8", "steps": "5", "activation": "tanh"})
    at.query_params.clear()
    at.query_params["depth"] = "2"
    at.query_params["width"] = "4"
    at.query_params["steps"] = "6"
    at.run()
    stands(at, slug)
    assert network(at) == Spec(depth=2, width=4, steps=6)
    assert at.selectbox(key="activation").value == "relu"
    assert address(at) == {"v": "1", "depth": "2", "width": "4", "steps": "6"}


@EVERY_PAGE
def test_an_address_without_fields_keeps_the_network(slug: str) -> None:
    at = visit(slug, {"depth": "3", "width": "8", "steps": "5"})
    at.query_params.clear()
    at.run()
    assert network(at) == Spec(depth=3, width=8, steps=5)
    assert address(at) == {"v": "1", "depth": "3", "width": "8", "steps": "5"}


@EVERY_PAGE
def test_reset_puts_everything_back(slug: str) -> None:
    query = {"depth": "2", "width": "8", "steps": "5", "initializer": "random_normal(stddev=0.2)"}
    own = {"distributions": {"layer": "1"}, "live": {"seeds": "2"}, "compare": {"seeds": "2"}}.get(slug, {})
    at = visit(slug, {**query, **own})
    assert address(at) == {"v": "1", **query, **own}
    at.button(key="reset").click().run()
    stands(at, slug)
    assert address(at) == {"v": "1"}
    assert network(at) == Spec()
    assert at.slider(key="depth").value == 10
    assert at.selectbox(key="initializer").value == "he_normal"


def test_reset_mends_a_bad_address() -> None:
    at = visit("", {"depth": "zero"})
    assert problems(at)
    at.button(key="reset").click().run()
    assert not problems(at)
    assert address(at) == {"v": "1"}


def follow(at: AppTest, slug: str, *, bare: bool = False) -> AppTest:
    """Go to a page as its link of the row does, with the link's query; `bare`: with none."""
    link = next(found for found in at.get("page_link") if found.proto.label == PAGES[slug].lens.title)
    query = {} if bare else dict(parse_qsl(link.proto.query_string))
    at.query_params.clear()
    for name, value in query.items():
        at.query_params[name] = value
    return at.switch_page(PAGES[slug].script).run()


@pytest.mark.parametrize("bare", [False, True], ids=["link", "bare"])
@pytest.mark.parametrize("first", list(PAGES), ids=lambda slug: slug or "home")
def test_a_switch_of_pages_keeps_the_network_and_each_lens_its_knobs(first: str, bare: bool) -> None:
    spec = {"depth": "2", "width": "8", "steps": "5", "initializer": "random_normal(stddev=0.2)"}
    spec |= {"activation": "leaky_relu(slope=0.2)", "bias": "constant(value=0.5)", "output": "small"}
    own = {"distributions": {"layer": "1", "samples": "1000"}, "live": {"seeds": "2"}, "compare": {"seeds": "3"}}
    at = visit(first, {**spec, **own.get(first, {})})
    for slug in [slug for slug in PAGES if slug != first] + [first]:
        follow(at, slug, bare=bare)
        stands(at, slug)
        assert network(at).depth == 2
        assert address(at) == {"v": "1", **spec, **(own.get(slug, {}) if slug == first else {})}
        # What the widgets show, not only what the session holds.
        assert at.slider(key="depth").value == 2
        assert at.text_input(key="width").value == "8"
        assert at.number_input(key="initializer.random_normal.stddev").value == 0.2
        assert at.number_input(key="activation.leaky_relu.slope").value == 0.2
        assert at.number_input(key="bias.constant.value").value == 0.5
    if first == "distributions":
        assert at.slider(key="distributions:layer").value == 1


@pytest.mark.parametrize("first", list(PAGES), ids=lambda slug: slug or "home")
def test_a_change_after_a_switch_changes_nothing_else(first: str) -> None:
    spec = {"depth": "3", "width": "8", "steps": "5", "activation": "tanh", "batch_size": "32"}
    at = visit(first, spec)
    for slug in [slug for slug in PAGES if slug != first]:
        follow(at, slug)
        seed = len(slug) + 1
        move(at, "number_input", "seed", seed)
        stands(at, slug)
        assert address(at) == {"v": "1", **spec, "seed": str(seed)}


def test_a_link_of_the_row_carries_the_network() -> None:
    spec = {
        "depth": "2",
        "width": "8",
        "activation": "leaky_relu(slope=0.2)",
        "initializer": 'custom(standard_deviation="2 * sqrt(1/fan_in)")',
        "bias": "constant(value=0.5)",
        "output": "small",
    }
    at = visit("", spec)
    for link in at.get("page_link"):
        assert dict(parse_qsl(link.proto.query_string)) == {"v": "1", **spec}


WHOLE = "a whole number from 1 to 200"
BAD: list[tuple[str, str | list[str], str, str]] = [
    ("depth", "deep", "'deep'", WHOLE),
    ("depth", "0", "'0'", WHOLE),
    ("depth", "201", "'201'", WHOLE),
    ("depth", "-3", "'-3'", WHOLE),
    ("depth", "1.5", "'1.5'", WHOLE),
    ("depth", "", "''", WHOLE),
    ("depth", "nan", "'nan'", WHOLE),
    ("depth", "inf", "'inf'", WHOLE),
    ("depth", "1e999", "'1e999'", WHOLE),
    ("depth", "9" * 400, "'" + "9" * 60 + "...'", WHOLE),
    ("depth", "１０", "'１０'", WHOLE),
    ("depth", "1\x00", r"'1\x00'", WHOLE),
    ("depth", "<img src=x onerror=alert(1)>", "'<img src=x onerror=alert(1)>'", WHOLE),
    ("depth", "**bold** [a](http://b) `c` $d$ :red[e]", "'**bold** [a](http://b) `c` $d$ :red[e]'", WHOLE),
    ("depth", "# title\n- list", r"'# title\n- list'", WHOLE),
    ("depth", ["3", "4"], "'3;4'", "each parameter once"),
    ("width", "1025", "'1025'", "a whole number from 1 to 1024"),
    ("width", "64-", "'64-'", "or at most 16 of them joined by -"),
    ("width", "64-0", "'64-0'", "or at most 16 of them joined by -"),
    ("width", "-".join(["4"] * 17), "'4-4-4", "or at most 16 of them joined by -"),
    ("normalization", "batchnorm", "'batchnorm'", "one of none, batch, layer, rms"),
    ("residual", "plian", "'plian'", "did you mean plain?"),
    ("schedule", "cos", "'cos'", "one of constant, warmup, cosine"),
    ("weight_decay", "11", "'11'", "a number from 0 to 10"),
    ("clip", "-1", "'-1'", "a number from 0 to 1000000"),
    ("activation", "rellu", "'rellu'", "did you mean relu?"),
    ("activation", "", "''", "a name, or"),
    ("activation", "leaky_relu(slope=11)", "leaky_relu(slope=11)", "for slope a number from -10 to 10"),
    ("bias", "constnt", "'constnt'", "did you mean constant?"),
    ("bias", "normal(stddev=-1)", "normal(stddev=-1)", "for stddev a number from 0 to"),
    ("output", "tiny", "'tiny'", "one of same, zeros, small"),
    ("dataset", "cifar", "'cifar'", "one of "),
    ("optimizer", "Adam", "'Adam'", "did you mean adam?"),
    ("learning_rate", "nan", "'nan'", "a number from 0 to"),
    ("learning_rate", "inf", "'inf'", "a number from 0 to"),
    ("learning_rate", "1e999", "'1e999'", "a number from 0 to"),
    ("learning_rate", "-1", "'-1'", "a number from 0 to"),
    ("learning_rate", "1_0", "'1_0'", "a number from 0 to"),
    ("steps", "100001", "'100001'", "a whole number from 1 to 100000"),
    ("seed", "2147483648", "'2147483648'", "a whole number from 0 to 2147483647"),
    ("batch_size", "0", "'0'", "a whole number from 1 to 4096"),
    ("initializer", "random_normal(stddev=-1)", "random_normal(stddev=-1)", "a number from 0 to"),
    ("initializer", "random_normal(stddev=nan)", "random_normal(stddev=nan)", "a number from 0 to"),
    ("initializer", "random_normal(sd=1)", "random_normal(sd=1)", "stddev"),
    ("initializer", "he_normal(", "he_normal(", "give "),
    ("initializer", 'custom(standard_deviation="<b>")', '"<b>"', "for standard_deviation an expression"),
    ("initializer", "custom(standard_deviation=fan_inn)", "fan_inn", "gain, numbers, + - * / ** and sqrt"),
    ("initializer", "__import__('os')", "__import__('os')", "give "),
    ("initializer", "he_norml", "he_norml", "did you mean he_normal?"),
    ("initializer", "", "''", "give "),
    ("initializer", "x" * 400, "'" + "x" * 60 + "...'", "at most 300 characters"),
    ("dept", "3", "'3'", "did you mean depth?"),
    ("v", "99", "'99'", "one of 1"),
    ("v", ["1", "1"], "'1;1'", "one of 1"),
]


def _label(value: object) -> str:
    return repr(value)[:24].encode("unicode_escape").decode("ascii")


@pytest.mark.sampled(5)
@pytest.mark.parametrize(("name", "value", "shown", "allowed"), BAD, ids=_label)
def test_bad_input_is_named_and_the_page_stands(name: str, value: str | list[str], shown: str, allowed: str) -> None:
    at = visit("", {name: value})
    stands(at, "")
    assert network(at) == Spec()
    messages = problems(at)
    assert len(messages) == 1
    read = plain(messages[0])
    assert name in read
    assert shown in read
    assert allowed in read
    assert not re.search(r"(?<!\\)[<\[`$]", messages[0].removeprefix(":material/info:"))
    assert address(at) == {"v": "1"}
    if name in Spec().values():
        field = next(field for field in fields_of(Spec) if field.name == name)
        assert f"In use: {field.write(field.default)}." in read


BAD_OWN: list[tuple[str, str, str | list[str], str]] = [
    ("distributions", "layer", "202", "a whole number from 1 to 201"),
    ("distributions", "fan_in", "0", "a whole number from 1 to 1024"),
    ("distributions", "fan_out", "many", "a whole number from 1 to 1024"),
    ("distributions", "samples", "1000001", "a whole number from 1 to 1000000"),
    ("distributions", "unit", "metre", "one of weight, deviations"),
    ("distributions", "view", "tail", "did you mean tails?"),
    ("distributions", "image", "jpg", "one of png, svg"),
    ("distributions", "translate", "torch_liner", "did you mean torch_linear?"),
    ("distributions", "initializers", "he_normal;he_norml", "did you mean he_normal?"),
    ("distributions", "initializers", "he_normal;he_normal", "at most 10 different values"),
    ("live", "seeds", "17", "a whole number from 1 to 16"),
    ("live", "seeds", "nan", "a whole number from 1 to 16"),
    ("compare", "seeds", "51", "a whole number from 1 to 50"),
    ("compare", "learning_rates", "0", "a number above 0"),
    ("compare", "learning_rates", "0.1;inf", "a number above 0"),
    ("compare", "curve", "los", "did you mean loss?"),
    ("compare", "initializers", "random_normal(stddev=-1)", "a number from 0 to"),
    ("compare", "initializers", ["orthogonal", "he_uniform"], "each parameter once"),
]


@pytest.mark.parametrize(("slug", "name", "value", "allowed"), BAD_OWN, ids=_label)
def test_bad_knob_of_a_lens(slug: str, name: str, value: str | list[str], allowed: str) -> None:
    small = {"depth": "1", "width": "4", "steps": "5"}
    at = visit(slug, {**small, name: value})
    stands(at, slug)
    messages = [plain(found) for found in problems(at)]
    assert len(messages) == 1
    assert name in messages[0]
    assert allowed in messages[0]
    assert address(at) == {"v": "1", **small}


@EVERY_PAGE
def test_bad_values_on_every_page(slug: str) -> None:
    at = visit(slug, {"depth": "deep", "width": "8", "seed": "-1", "initializer": "__import__('os')", "steps": "5"})
    stands(at, slug)
    assert len(problems(at)) == 3
    assert network(at) == Spec(width=8, steps=5)
    assert address(at) == {"v": "1", "width": "8", "steps": "5"}


@EVERY_PAGE
def test_five_thousand_characters(slug: str) -> None:
    at = visit(slug, {"depth": "9" * 5000})
    stands(at, slug)
    assert len(problems(at)) == 1
    assert f"at most {permalink.LIMIT} characters" in plain(problems(at)[0])
    assert len(problems(at)[0]) < 300
    assert network(at) == Spec()


def test_a_message_goes_with_the_next_change() -> None:
    at = visit("", {"depth": "deep"})
    assert problems(at)
    at.slider(key="depth").set_value(3).run()
    assert not problems(at)
    assert address(at) == {"v": "1", "depth": "3"}


def test_an_emptied_number_keeps_what_was_there() -> None:
    at = visit("")
    at.number_input(key="batch_size").set_value(None).run()
    stands(at, "")
    assert address(at) == {"v": "1"}
    assert at.number_input(key="batch_size").value == 64


@pytest.mark.parametrize("slug", ["live", "compare"])
def test_data_without_labels_is_refused_with_a_way_out(slug: str) -> None:
    at = visit(slug, {"dataset": "gaussian", "depth": "2", "width": "8", "steps": "5"})
    stands(at, slug)
    assert len(refusals(at)) == 1
    assert "gaussian has none" in refusals(at)[0]
    at.button(key="way-out-0").click().run()
    stands(at, slug)
    assert not refusals(at)
    assert network(at).dataset == "digits"
    assert "dataset" not in address(at)


def test_the_other_way_out_of_train_is_moons() -> None:
    at = visit("live", {"dataset": "gaussian", "depth": "2", "width": "8", "steps": "5"})
    button(at, "moons").click().run()
    stands(at, "live")
    assert address(at) == {"v": "1", "dataset": "moons", "depth": "2", "width": "8", "steps": "5"}
    assert at.selectbox(key="dataset").value == "moons"


@pytest.mark.parametrize("slug", ["", "distributions"])
def test_data_without_labels_is_fine_where_nothing_is_trained(slug: str) -> None:
    at = visit(slug, {"dataset": "gaussian", "depth": "2", "width": "8"})
    stands(at, slug)
    assert not refusals(at)


def way_out(at: AppTest, slug: str) -> None:
    """Take the first way out of a refusal, and assert that it leads out."""
    at.button(key="way-out-0").click().run()
    stands(at, slug)
    assert not refusals(at)
    assert not problems(at)
    assert slug != "live" or answer(at)[0]["count"] == 1
    assert charts(at) or slug != ""


@pytest.mark.parametrize("slug", ["live", "compare"])
def test_batch_normalization_of_single_samples_is_refused_with_a_way_out(slug: str) -> None:
    query = {"depth": "2", "width": "8", "normalization": "batch", "batch_size": "1", "steps": "5"}
    at = visit(slug, query)
    stands(at, slug)
    (refusal,) = refusals(at)
    assert "batch_size: '1' is not allowed; give at least 2 for batch normalization" in refusal
    assert not charts(at)
    assert address(at) == {"v": "1", **query}
    way_out(at, slug)
    # By hand there are two.
    for kind, key, value in (("number_input", "batch_size", 2), ("button_group", "normalization", "layer")):
        at = visit(slug, query)
        move(at, kind, key, value)
        stands(at, slug)
        assert not refusals(at)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("slug", ["", "live", "compare"])
@pytest.mark.parametrize("residual", list(RESIDUALS))
def test_a_residual_network_of_unequal_widths_is_refused_with_a_way_out(slug: str, residual: str) -> None:
    query = {"depth": "3", "width": "8-6-8", "residual": residual, "steps": "5"}
    at = visit(slug, query)
    stands(at, slug)
    (refusal,) = refusals(at)
    assert "width: '8-6-8' is not allowed; give the same width in every layer of a residual network" in refusal
    assert not problems(at)
    assert not charts(at)
    assert address(at) == {"v": "1", **query}
    way_out(at, slug)
    for kind, key, value in (("text_input", "width", "8-8-8"), ("button_group", "residual", "off")):
        at = visit(slug, query)
        move(at, kind, key, value)
        stands(at, slug)
        assert not refusals(at)


@pytest.mark.parametrize("initializer", ["he_normal", "lsuv"])
def test_distributions_stands_where_the_widths_fit_no_residual(initializer: str) -> None:
    """A layer is drawn by its fans; what depends on the data has no network to depend on."""
    at = visit("distributions", {"width": "8-6", "residual": "plain", "initializer": initializer})
    stands(at, "distributions")
    assert len(charts(at)) >= 2


BORDERS = [
    {"width": "1", "depth": "1"},
    {"width": "1", "depth": "200", "dataset": "moons"},
    {"width": "1", "normalization": "layer"},
    {"width": "8-1-8", "normalization": "batch"},
    {"depth": "200", "width": "8", "dataset": "moons", "residual": "zero", "normalization": "batch"},
    {"learning_rate": "0"},
    {"learning_rate": "10000000000"},
    {"learning_rate": "10000000000", "normalization": "batch", "optimizer": "adam"},
    {"batch_size": "4096"},
    {"batch_size": "4096", "normalization": "batch", "dataset": "blobs"},
    {"batch_size": "2", "normalization": "batch"},
    {"batch_size": "1"},
    {"initializer": "looks_linear", "width": "8-6"},
    {"initializer": "zeros", "normalization": "layer"},
    {"weight_decay": "10", "clip": "0.000001", "schedule": "warmup"},
]


@pytest.mark.parametrize("query", BORDERS, ids=str)
def test_train_at_the_borders_of_the_fields(query: dict[str, str]) -> None:
    at = visit("live", {"depth": "2", "width": "8", "steps": "4", "seeds": "2", **query})
    stands(at, "live")
    assert not problems(at)
    assert not refusals(at)
    header, _ = answer(at)
    assert header["scene"]["steps"] == [0, 1, 2, 3, 4]
    header = play(at, 5)
    stands(at, "live")
    assert (header["total"], header["at"]) == (5, 4)


@pytest.mark.parametrize("query", [BORDERS[1], BORDERS[6], BORDERS[7], BORDERS[9]], ids=str)
def test_compare_at_the_borders_of_the_fields(query: dict[str, str]) -> None:
    query = {"depth": "2", "width": "8", "steps": "4", "seeds": "2", "initializers": "zeros", **query}
    at = finish(visit("compare", query))
    stands(at, "compare")
    assert len(at.dataframe[0].value) == 2


@pytest.mark.sampled(7)
@pytest.mark.parametrize("slug", ["", "distributions", "live", "compare"])
@pytest.mark.parametrize("dataset", list(DATASETS))
def test_every_data_set_on_every_page(slug: str, dataset: str) -> None:
    at = visit(slug, {**TINY, "dataset": dataset})
    stands(at, slug)
    assert not problems(at)
    record = DATASETS[dataset]
    if slug not in ("live", "compare") or record.has_labels:
        assert not refusals(at)
    else:
        assert len(refusals(at)) == 1
        return
    if slug == "live":
        header, arrays = answer(at)
        assert header["scene"]["view"] == record.view
        assert header["scene"]["score"] == record.measure.label
        assert arrays["known"].tolist() == [[1]]
        at = visit(slug, {**TINY, "dataset": dataset, "step": "3"})
        stands(at, slug)
        assert len(charts(at)) == 6  # layers, updates, shares, predictions, two histograms of the one layer
        assert f"test {record.measure.label}" in at.dataframe[0].value.columns
    if slug == "compare":
        table = finish(at).dataframe[0].value
        assert f"test {record.measure.label}" in table.columns
        assert len(table) == 5


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_train_with_every_optimizer_and_schedule(optimizer: str, schedule: str) -> None:
    at = visit("live", {**TINY, "optimizer": optimizer, "schedule": schedule, "weight_decay": "0.01", "clip": "1"})
    assert play(at, 2)["at"] >= 1
    stands(at, "live")


WITHOUT_ANSWER = [
    ({"initializer": "looks_linear", "width": "5"}, "an even width"),
    ({"initializer": "kumar"}, "a slope at 0, where ReLU has none"),
    ({"initializer": "edge_of_chaos(sigma_b=0.1)"}, "edge_of_chaos"),
    ({"initializer": 'custom(standard_deviation="2 - layer")'}, "above 0"),
]


@pytest.mark.parametrize("slug", ["", "live", "compare"])
@pytest.mark.parametrize(("query", "reason"), WITHOUT_ANSWER)
def test_a_network_that_cannot_start_is_refused_with_a_way_out(slug: str, query: dict[str, str], reason: str) -> None:
    query = {"depth": "3", "steps": "5", **query}
    at = visit(slug, query)
    stands(at, slug)
    (refusal,) = refusals(at)
    assert f"initializer: '{query['initializer']}' is not allowed" in refusal
    assert reason in refusal
    assert not problems(at)
    assert not charts(at)
    assert address(at) == {"v": "1", **query}
    button(at, "Use he_normal").click().run()
    stands(at, slug)
    assert not refusals(at)
    assert network(at).initializer == "he_normal"
    assert at.selectbox(key="initializer").value == "he_normal"
    del query["initializer"]
    assert address(at) == {"v": "1", **query}


def test_what_cannot_start_can_be_left_out_of_a_comparison() -> None:
    query = {**TINY, "width": "5", "initializer": "looks_linear", "initializers": "orthogonal;looks_linear;zeros"}
    at = visit("compare", query)
    button(at, "Use he_normal").click().run()
    stands(at, "compare")
    assert "looks_linear" in refusals(at)[0]  # the same, now among the others
    button(at, "Leave it out").click().run()
    stands(at, "compare")
    assert not refusals(at)
    assert address(at)["initializers"] == "orthogonal;zeros"
    assert at.multiselect(key="compare:initializers").value == ["orthogonal", "zeros"]
    assert len(finish(at).dataframe[0].value) == 3


def test_another_width_lets_it_start() -> None:
    at = visit("live", {"depth": "1", "width": "5", "steps": "5", "initializer": "looks_linear"})
    assert refusals(at)
    at.text_input(key="width").set_value("6").run()
    stands(at, "live")
    assert not refusals(at)
    assert answer(at)[0]["first"] == 0


@pytest.mark.parametrize("initializer", ["he_normal", "looks_linear"])
def test_distributions_leaves_out_what_has_no_answer_for_the_layer(initializer: str) -> None:
    names = ("orthogonal", "looks_linear", "kumar")
    others = [name for name in names if name != initializer]
    query = {"width": "5", "initializer": initializer, "initializers": ";".join(others)}
    at = visit("distributions", query)
    stands(at, "distributions")
    assert not refusals(at)
    left_out = notes(at)
    assert len(left_out) == 2
    assert any("'looks_linear' is not allowed; give it an even width" in note for note in left_out)
    assert any("'kumar' is not allowed; give it an activation with a slope at 0" in note for note in left_out)
    drawn = list(dict.fromkeys(name for name in (initializer, *others) if name not in ("looks_linear", "kumar")))
    table = at.dataframe[0].value
    assert list(dict.fromkeys(table["initializer"])) == drawn
    assert len(charts(at)) == 2 + len(drawn)
    assert address(at) == {"v": "1", **{name: text for name, text in query.items() if text != "he_normal"}}
    # Another layer may have an answer: the output layer mirrors its inputs alone.
    at.number_input(key="distributions:fan_in").set_value(6).run()
    at.slider(key="distributions:layer").set_value(201).run()
    stands(at, "distributions")
    assert len(notes(at)) == 1
    assert "kumar" in notes(at)[0]


def test_distributions_stands_with_nothing_to_draw() -> None:
    at = visit("distributions", {"initializer": "kumar", "initializers": ""})
    stands(at, "distributions")
    assert len(notes(at)) == 1
    assert any("None of the initializers has an answer" in found.value for found in at.markdown)
    assert not charts(at)
    assert [found.proto.label for found in at.get("download_button")] == ["Spec as JSON"]
    at.selectbox(key="activation").set_value("tanh").run()
    stands(at, "distributions")
    assert not notes(at)
    assert len(charts(at)) == 3


# AppTest runs parallel fragments to their end before it shows the page: what is in them can be tested like the rest.


def test_distributions_shows_figures_images_and_a_table_of_moments() -> None:
    at = visit("distributions", {"initializers": "sparse;lsuv", "width": "32"})
    stands(at, "distributions")
    histograms, spectrum, *images = charts(at)
    assert "Density of the weights" in histograms
    assert "Singular values of W" in spectrum
    assert len(images) == 3
    assert all("heatmap" in image for image in images)
    table = at.dataframe[0].value
    assert list(table["initializer"]) == ["he_normal", "he_normal", "sparse", "sparse", "lsuv", "lsuv"]
    assert list(table[""]) == ["asked", "drawn"] * 3
    assert {"mean", "sd", "min", "max", "kurtosis", "fan_in Var", "fan_out Var", "zeros"} <= set(table.columns)
    he, sparse, lsuv = (table.iloc[row] for row in (0, 2, 4))
    assert (he["sd"], he["kurtosis"], he["zeros"]) == ("0.25", "2.366", "0")
    assert he["fan_in Var"] == "2"
    assert sparse["zeros"] == "0.125"
    assert lsuv["sd"] == "–"  # known from the data only
    assert table.iloc[1]["distinct"] == "32 of 32"


@pytest.mark.parametrize(
    ("view", "title"),
    [
        ("density", "Density of the weights"),
        ("tails", "Density of the weights, logarithmic"),
        ("cumulative", "Share of weights at or below"),
    ],
)
@pytest.mark.parametrize("unit", ["weight", "deviations"])
def test_views_of_distributions(view: str, title: str, unit: str) -> None:
    names = "zeros;sparse;torch_default;lsuv;idinit;custom(distribution=rademacher)"
    at = visit("distributions", {"view": view, "unit": unit, "width": "16", "initializers": names})
    stands(at, "distributions")
    texts = [note["text"] for note in json.loads(charts(at)[0])["layout"]["annotations"]]
    assert texts[:2] == [title, "weight" if unit == "weight" else "weight / standard deviation"]


@pytest.mark.parametrize("image", ["png", "svg"])
def test_figures_are_saved_in_the_format_that_is_asked_for(image: str) -> None:
    at = visit("distributions", {"image": image, "width": "16"})
    configs = [json.loads(found.proto.config) for found in at.get("plotly_chart")]
    assert {config["toImageButtonOptions"]["format"] for config in configs} == {image}
    names = [config["toImageButtonOptions"]["filename"] for config in configs]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("slug", [DistributionsKnobs().translate, list(TRANSLATIONS)[-1]])
def test_the_translator_explains_what_is_chosen(slug: str) -> None:
    at = visit("distributions", {"translate": slug, "width": "12", "activation": "tanh"})
    stands(at, "distributions")
    chosen = TRANSLATIONS[slug]
    explained = explain(chosen, LayerShape(12, 12, 2, 10, "tanh"))
    said = [plain(found.value) for found in at.markdown]
    assert any(text.startswith(explained.sentence.partition("sigma_w")[0]) for text in said)
    assert any(chosen.trap in text for text in said)
    code = [found.value for found in at.code]
    for framework in FRAMEWORKS:
        assert explained.lines[framework] in code


def test_the_gains_of_every_activation_are_listed() -> None:
    at = visit("distributions", {"width": "16"})
    assert not any("activation" in found.value.columns for found in at.dataframe)  # the fold is closed
    at.session_state["all-gains"] = True
    at.run()
    gains = next(found.value for found in at.dataframe if "activation" in found.value.columns)
    assert list(gains["activation"]) == [activation(name).label for name in ACTIVATIONS]
    relu = gains[gains["activation"] == "ReLU"].iloc[0]
    assert relu["keeps the signal"] == pytest.approx(2**0.5)
    assert relu["torch calculate_gain"] == "1.4142"
    assert set(gains["torch calculate_gain"]) >= {"refuses"}


def test_samples_and_the_spec_can_be_downloaded() -> None:
    at = visit("distributions", {"width": "16"})
    labels = [found.proto.label for found in at.get("download_button")]
    assert labels == ["Samples as CSV", "Samples as NPY", "Spec as JSON"]


@pytest.mark.parametrize("slug", ["live", "compare"])
def test_too_much_work_is_refused_with_a_way_out(slug: str) -> None:
    at = visit(slug, {"depth": "200", "width": "1024"})
    stands(at, slug)
    assert len(refusals(at)) == 1
    limit = Limit.of_host()
    assert f"less than {limit.seconds:.0f} s and {limit.bytes / 1e6:,.0f} MB on this host" in refusals(at)[0]
    assert network(at) == Spec(depth=200, width=1024)
    at.button(key="way-out-0").click().run()
    stands(at, slug)
    assert not refusals(at)
    assert network(at) == Spec()
    assert address(at) == {"v": "1"}


@pytest.mark.parametrize("slug", ["", "distributions"])
def test_the_largest_network_is_shown_where_nothing_is_trained(slug: str) -> None:
    at = visit(slug, {"depth": "200", "width": "1024"} if slug else {"depth": "200", "width": "64"})
    stands(at, slug)
    assert not refusals(at)


def test_the_player_gets_every_frame_once_and_in_order() -> None:
    at = visit("live", {"depth": "2", "width": "8", "steps": "100", "seeds": "3"})
    stands(at, "live")
    steps: list[float] = []
    losses = []
    header, arrays = answer(at)
    while True:
        assert header["first"] == len(losses)
        losses += list(arrays["loss"])
        if len(losses) == header["total"]:
            break
        ask(at, {"run": header["run"], "have": len(losses), "n": 40})
        header, arrays = answer(at)
    spec = Spec(depth=2, width=8, steps=100)
    run = list(train(spec, 3, every=dense_steps(100)))
    steps = [snapshot.step for snapshot in run]
    assert steps == answer(visit("live", texts_of(spec)))[0]["scene"]["steps"]
    assert np.array_equal(np.stack(losses), np.stack([snapshot.loss for snapshot in run]))


def test_the_last_answer_is_given_again_and_a_lost_place_is_found_again() -> None:
    at = visit("live", {"depth": "2", "width": "8", "steps": "100", "seeds": "1"})
    run = answer(at)[0]["run"]
    found = {}
    for have in (1, 1, 21, 5, 5):
        ask(at, {"run": run, "have": have, "n": 20})
        header, arrays = answer(at)
        assert header["run"] == run
        assert header["first"] == have
        for number, loss in enumerate(arrays["loss"]):
            assert found.setdefault(have + number, loss.tolist()) == loss.tolist()
    assert len(found) > 5


MALFORMED = [
    None,
    7,
    "more",
    [],
    {},
    {"run": 1, "have": 1, "n": 1},
    {"run": "", "have": "1", "n": 1},
    {"run": "", "have": 1.0, "n": 1},
    {"run": "", "have": True, "n": 1},
    {"run": "", "have": -1, "n": 1},
    {"run": "", "have": 10**9, "n": 1},
    {"run": "", "have": 1, "n": 0},
    {"run": "", "have": 1, "n": 10**6},
    {"run": "", "have": 1},
]


@pytest.mark.parametrize("wanted", MALFORMED, ids=repr)
def test_a_malformed_request_is_ignored_with_a_line_in_the_log(
    wanted: object, caplog: pytest.LogCaptureFixture
) -> None:
    at = visit("live", TINY)
    before = answer(at)[0]
    caplog.clear()
    ask(at, wanted)
    stands(at, "live")
    assert answer(at)[0] == before
    assert [record.levelname for record in caplog.records if record.name.startswith("winit")] == ["WARNING"]


@pytest.mark.parametrize(
    "moment", [3, {"run": "other", "step": 1}, {"step": "1"}, {"step": -1}, {"step": 99}], ids=repr
)
def test_a_malformed_moment_is_ignored_with_a_line_in_the_log(moment: object, caplog: pytest.LogCaptureFixture) -> None:
    at = visit("live", TINY)
    if isinstance(moment, dict):
        moment = {"run": answer(at)[0]["run"], **moment}
    at.session_state["player"] = {"moment": moment}
    at.run()
    stands(at, "live")
    assert address(at) == {"v": "1", **TINY}
    assert [record.levelname for record in caplog.records if record.name.startswith("winit")] == ["WARNING"]


def test_a_request_about_another_network_is_not_answered() -> None:
    at = visit("live", TINY)
    before = answer(at)[0]
    ask(at, {"run": "another", "have": 3, "n": 5})
    assert answer(at)[0] == before


def test_a_step_is_studied_and_closed() -> None:
    at = visit("live", TINY)
    assert not charts(at)
    at.session_state["player"] = {"moment": {"run": answer(at)[0]["run"], "step": 3, "act": "study"}}
    at.run()
    stands(at, "live")
    assert address(at) == {"v": "1", **TINY, "step": "3"}
    assert [found.value for found in at.subheader] == ["Step 3"]
    assert answer(at)[0]["moment"] == 3
    snapshot = list(train(Spec(depth=1, width=4, steps=5), 1, every=1))[3]
    table = at.dataframe[0].value
    assert table["loss"].tolist() == snapshot.loss.tolist()
    assert table["test accuracy"].tolist() == snapshot.test_accuracy.tolist()
    at.session_state["player"] = {}
    at.button(key="close-moment").click().run()
    stands(at, "live")
    assert not charts(at)
    assert address(at) == {"v": "1", **TINY}


def test_a_link_to_a_moment_that_is_not_recorded_names_the_nearest() -> None:
    at = visit("live", {**TINY, "steps": "3000", "step": "2001"})
    while not at.dataframe:
        at.run()
    (heading,) = [found.value for found in at.subheader]
    steps = dense_steps(3000)
    nearest = min(steps, key=lambda step: abs(step - 2001))
    assert heading == f"Step {nearest}, the recorded one nearest to 2001"
    assert answer(at)[0]["moment"] == steps.index(nearest)


def test_initializers_learn_side_by_side() -> None:
    at = visit("live", {**TINY, "beside": "zeros;glorot_normal", "step": "2"})
    stands(at, "live")
    header, arrays = answer(at)
    assert header["scene"]["initializers"] == ["he_normal", "zeros", "glorot_normal"]
    assert arrays["loss"].shape == (1, 6)
    assert at.dataframe[0].value["initializer"].tolist() == ["he_normal", "zeros", "glorot_normal"]


def test_what_cannot_start_beside_can_be_left_out() -> None:
    at = visit("live", {**TINY, "width": "5", "beside": "looks_linear;zeros"})
    assert "looks_linear" in refusals(at)[0]
    button(at, "Leave it out").click().run()
    stands(at, "live")
    assert not refusals(at)
    assert address(at)["beside"] == "zeros"


@pytest.mark.parametrize("number", range(len(PRESETS)))
def test_a_preset_sets_the_network(number: int) -> None:
    at = visit("live", {"width": "8", "seeds": "1", "steps": "5", "step": "2"})
    at.button(key=f"preset-{number}").click().run()
    stands(at, "live")
    fields = list(PRESETS.values())[number]
    assert network(at) == Spec(width=8, steps=5, **fields)
    assert "step" not in address(at)
    assert at.selectbox(key="initializer").value == fields["initializer"].split("(")[0]


def test_train_starts_anew_when_the_network_changes() -> None:
    at = visit("live", TINY)
    first = play(at, 3)["run"]
    at.session_state["player"] = {}
    at.text_input(key="width").set_value("5").run()
    header, _ = answer(at)
    assert header["run"] != first
    assert header["first"] == 0
    at.slider(key="live:seeds").set_value(3).run()
    assert answer(at)[1]["loss"].shape == (1, 3)


def test_train_keeps_its_run_across_pages() -> None:
    at = visit("live", TINY)
    before = play(at, 4)
    at.session_state["player"] = {}
    follow(at, "")
    follow(at, "live")
    assert answer(at)[0] == before


def finish(at: AppTest) -> AppTest:
    """Run a comparison to its end: AppTest does not tick."""
    for _ in range(60):
        if len(at.dataframe):
            return at
        at.run()
    raise AssertionError("the comparison does not end")


CALLED_BACK = {
    "button",
    "button_group",
    "camera_input",
    "chat_input",
    "checkbox",
    "color_picker",
    "data_editor",
    "date_input",
    "datetime_input",
    "download_button",
    "feedback",
    "file_uploader",
    "form_submit_button",
    "menu_button",
    "multiselect",
    "number_input",
    "pills",
    "radio",
    "segmented_control",
    "select_slider",
    "selectbox",
    "slider",
    "text_area",
    "text_input",
    "time_input",
    "toggle",
}


def _is_streamlit(call: ast.Call) -> bool:
    """Whether a call is of a widget, of `st` or of a container, not of our own modules."""
    target = call.func
    if not isinstance(target, ast.Attribute) or target.attr not in CALLED_BACK:
        return False
    root = target.value
    return not (isinstance(root, ast.Name) and root.id in ("frame", "knobs"))


def _fragments(tree: ast.AST) -> set[str]:
    """Return the names of the functions of a module that run in a fragment, as dialogs do."""
    called = {
        argument.id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "st.fragment"
        for argument in call.args
        if isinstance(argument, ast.Name)
    }
    decorated = {
        found.name
        for found in ast.walk(tree)
        if isinstance(found, ast.FunctionDef)
        and any(
            name in ast.unparse(decorator)
            for name in ("st.fragment", "st.dialog")
            for decorator in found.decorator_list
        )
    }
    return called | decorated


def _shared(function: ast.AST) -> set[str]:
    """Return the names of the dictionaries of a function that hold a callback."""
    names = set()
    for found in ast.walk(function):
        if isinstance(found, ast.Assign | ast.AnnAssign) and isinstance(found.value, ast.Dict):
            keys = {key.value for key in found.value.keys if isinstance(key, ast.Constant)}
            if keys & {"on_change", "on_click"}:
                targets = found.targets if isinstance(found, ast.Assign) else [found.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.Module]:
    """Return the module's outermost functions, methods among them, and the module for what is in none."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (part for part in node.body if isinstance(part, ast.FunctionDef))
        else:
            yield ast.Module(body=[node], type_ignores=[])


def _unmarked(source: str) -> list[str]:
    """Return the widget calls that have no callback, outside fragments."""
    tree = ast.parse(source)
    fragments, found = _fragments(tree), []
    for function in _functions(tree):
        if isinstance(function, ast.FunctionDef) and function.name in fragments:
            continue
        shared = _shared(function)
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and _is_streamlit(call):
                given = {keyword.arg for keyword in call.keywords}
                spread = {ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is None}
                if not (given & {"on_change", "on_click"} or spread & shared):
                    found.append(f"line {call.lineno}: {ast.unparse(call)[:80]}")
    return found


SOURCES = [*sorted(UI.rglob("*.py")), ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_widget_marks_its_run(path: Path) -> None:
    assert _unmarked(path.read_text(encoding="utf-8")) == []


def test_the_search_for_unmarked_widgets_finds_them() -> None:
    assert _unmarked("def f():\n    st.slider('a', key='a')\n")
    assert _unmarked("def f():\n    row.button('a', **options)\n")
    assert _unmarked("st.sidebar.toggle('a')\n")
    assert not _unmarked("def f():\n    common = {'on_change': g}\n    st.slider('a', **common)\n")
    assert not _unmarked("def f():\n    st.button('a')\ndef g():\n    st.fragment(f, run_every=1)()\n")
    assert not _unmarked("st.download_button('a', on_click='ignore')\n")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_callback_does_nothing(path: Path) -> None:
    """A callback that does nothing leaves its run unmarked: the query of that run may be an old one."""
    idle = [
        f"line {call.lineno}: {ast.unparse(call)[:80]}"
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if re.fullmatch(r"on_\w+", keyword.arg or "")
        and isinstance(keyword.value, ast.Lambda)
        and isinstance(keyword.value.body, ast.Constant)
    ]
    assert idle == []


def test_only_the_address_module_touches_the_query() -> None:
    guilty = [
        path.name
        for path in SOURCES
        if path.name != "address.py" and re.search(r"\bst\.query_params\b", path.read_text(encoding="utf-8"))
    ]
    assert guilty == []


@EVERY_PAGE
def test_a_page_tells_its_widgets_their_values_when_it_opens_and_then_leaves_them_alone(slug: str) -> None:
    at = visit(slug, TINY)
    assert len(told(at)) > 10
    assert all(told(at))
    # Told again, a widget that the visitor has just clicked would go back, its change never sent.
    at.slider(key="depth").set_value(2).run()
    assert not any(told(at))


@EVERY_PAGE
def test_a_change_outlives_a_run_that_the_next_one_cuts_short(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(slug, TINY)
    with monkeypatch.context() as patch:

        def cut(*_: Any) -> Any:
            raise StopException

        patch.setattr(page_address, "_read", cut)
        at.slider(key="depth").set_value(2).run()
        assert network(at).depth == 1
    at.run()
    stands(at, slug)
    assert network(at).depth == 2
    assert address(at)["depth"] == "2"


def test_a_comparison_whose_conclusion_was_cut_short_is_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit("compare", TINY)
    job = at.session_state["_job"]
    while not job.sweep.is_finished:
        job.sweep.advance(1.0)
    job.stop()
    job.found = None
    at.run()
    stands(at, "compare")
    assert job.found is not None
    assert job.found.is_complete


def test_a_fit_whose_way_costs_too_much_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINIT_SECONDS", "0.01")
    query = {"depth": "60", "width": "64", "layer": "60", "initializers": "lsuv"}
    at = visit("distributions", query)
    stands(at, "distributions")
    (said,) = problems(at)
    assert "Left out" in said
    assert "for lsuv fewer units, or a layer nearer to the inputs" in said
    monkeypatch.setenv("WINIT_SECONDS", "120")
    at = at.run()
    assert not problems(at)
