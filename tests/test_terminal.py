"""The contract of the terminal (DESIGN.md section 8): names, strict JSON, exit codes, one line for bad input."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winit import distributions, export, permalink
from winit.__main__ import COMMANDS, main
from winit.activations import ACTIVATIONS, activation
from winit.datasets import DATASETS, load
from winit.fields import BadInput, fields_of
from winit.figures import saving
from winit.initializers import FRAMEWORKS, INITIALIZERS, LEFT_OUT, LayerShape, require_answer, scheme
from winit.initializers.biases import BIASES
from winit.layers import NORMALIZATIONS, RESIDUALS
from winit.lenses import LENSES, DistributionsKnobs
from winit.optimizers import OPTIMIZERS, SCHEDULES
from winit.spec import Spec
from winit.training import STATUSES, status
from winit.translator import TRANSLATIONS

ROOT = Path(__file__).parent.parent
TINY = ["--depth", "2", "--width", "5", "--dataset", "moons", "--batch-size", "8", "--steps", "3"]
MOMENTS = {"mean", "standard_deviation", "minimum", "maximum", "kurtosis", "zero_fraction"}


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """Training and measuring make the thread flush denormal numbers, which other tests draw."""
    yield
    torch.set_flush_denormal(False)


def _strict(text: str) -> Any:
    """Read one line of JSON, refusing what JSON does not know."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse)


def _ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Return the JSON of a command line that must succeed."""
    code = main(arguments)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    found = _strict(printed.out)
    assert found["version"]
    if arguments[0] != "catalogue":
        assert list(found["spec"]) == [field.name for field in fields_of(Spec)]
    assert not list(_unexplained(found))
    return dict(found)


NONE = ("default", "diverged_at", "features", "classes", "targets", "torch_gain")


def _unexplained(value: Any, path: str = "") -> Iterator[str]:
    """Yield every null that stands for a number and has no reason beside it.

    Nulls that say "none" rather than "not finite" are listed: a field without default, a member that did not
    diverge, a data set without classes, without targets or of no fixed width, an activation that torch's
    calculate_gain refuses.
    """
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unexplained(item, f"{path}[{number}]")
    elif isinstance(value, dict):
        reasons = {key for key in value if "reason" in key}
        for key, item in value.items():
            here = f"{path}.{key}"
            if item is None and key not in NONE:
                # theory_reason and saturated_reason speak for their own keys; reasons maps keys to reasons.
                own = {"reason"} | {name for name in reasons if key.startswith(name.removesuffix("_reason"))}
                own |= {"theory_reason"} if "theory" in key else set()
                explained = any(value.get(name) for name in own) or key in value.get("reasons", {})
                if not explained:
                    yield here
            elif isinstance(item, list) and None in item:
                # A curve of a member that left the finite numbers.
                if not value.get("final", {}).get("reason"):
                    yield here
            else:
                yield from _unexplained(item, here)


def test_the_search_for_unexplained_nulls_finds_them() -> None:
    assert list(_unexplained({"a": [{"b": None}]})) == [".a[0].b"]
    assert list(_unexplained({"layers": [{"x": None, "saturated_fraction": None, "saturated_reason": "y"}]})) == [
        ".layers[0].x"
    ]
    assert list(_unexplained({"loss": [1.0, None], "final": {"loss": 1.0}})) == [".loss"]
    assert not list(_unexplained({"maximum": None, "reasons": {"maximum": "unbounded"}, "low": 1}))


# catalogue


def test_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "catalogue")
    assert {"initializers", "activations", "datasets", "biases", "left_out", "fields", "version"} <= set(found)
    assert [record["name"] for record in found["initializers"]] == list(INITIALIZERS)
    assert [record["name"] for record in found["activations"]] == list(ACTIVATIONS)
    assert [record["name"] for record in found["datasets"]] == list(DATASETS)
    assert [record["name"] for record in found["biases"]] == list(BIASES)
    for record in found["datasets"]:
        known = DATASETS[record["name"]]
        counts = (record["features"], record["classes"] or record["targets"] or 0)
        assert counts == (known.features, known.outputs)
        assert (record["targets"] is not None) == known.is_regression
    assert found["left_out"] == LEFT_OUT
    parts = {"normalizations": NORMALIZATIONS, "residuals": RESIDUALS, "optimizers": OPTIMIZERS, "schedules": SCHEDULES}
    for kind, records in parts.items():
        assert [record["name"] for record in found[kind]] == list(records)
        for record in found[kind]:
            assert record["purpose"].endswith("."), record["name"]
            assert record["source"] or record["name"] == "constant"
    assert [field["name"] for field in found["fields"]] == [field.name for field in fields_of(Spec)]
    lists = ("initializers", "activations", "biases")
    for record in (record for name in lists for record in found[name]):
        assert record["purpose"].endswith("."), record["name"]
        assert record["source"], record["name"]
    parameters = [field for name in lists for record in found[name] for field in record["parameters"]]
    for field in [*found["fields"], *parameters]:
        assert {"name", "default", "range", "help"} <= set(field)
        assert field["range"]
        assert field["help"]
    depth = found["fields"][0]
    assert (depth["default"], depth["range"]) == (10, "a whole number from 1 to 200")


def test_catalogue_of_initializers_lists_every_alias_once_where_it_leads(capsys: pytest.CaptureFixture[str]) -> None:
    found = {record["name"]: record for record in _ask(capsys, "catalogue")["initializers"]}
    listed = [alias for record in found.values() for alias in record["aliases"]]
    assert sorted(listed) == sorted(INITIALIZERS.aliases)
    for name, record in found.items():
        for alias in record["aliases"]:
            assert INITIALIZERS.read(alias).record.name == name
    assert found["he_uniform"]["aliases"] == ["kaiming_uniform"]
    assert found["constant"]["aliases"] == ["ones"]
    assert [parameter["name"] for parameter in found["custom"]["parameters"]] == [
        "distribution",
        "standard_deviation",
        "nu",
        "share",
    ]
    assert found["custom"]["parameters"][1]["default"] == "gain*sqrt(1/fan_in)"


def test_catalogue_of_activations_has_their_gains(capsys: pytest.CaptureFixture[str]) -> None:
    found = {record["name"]: record for record in _ask(capsys, "catalogue")["activations"]}
    for name, record in found.items():
        assert record["formula"] == activation(name).formula
        assert set(record["gain"]) == {"forward", "backward"}
        assert all(gain > 0 for gain in record["gain"].values())
        # Where torch knows the activation, its gain is what it returns; null is what it refuses.
        try:
            expected = torch.nn.init.calculate_gain(name)  # type: ignore[arg-type]
        except ValueError:
            assert record["torch_gain"] is None or name in ("identity", "hardtanh")
        else:
            assert record["torch_gain"] == pytest.approx(expected)
    assert found["relu"]["gain"]["forward"] == pytest.approx(math.sqrt(2), rel=1e-12)
    assert found["relu"]["gain"]["backward"] == pytest.approx(math.sqrt(2), rel=1e-12)
    assert found["identity"]["gain"]["forward"] == pytest.approx(1, rel=1e-12)
    assert found["tanh"]["gain"]["forward"] == pytest.approx(1.5925374, rel=1e-6)
    (slope,) = found["leaky_relu"]["parameters"]
    assert (slope["name"], slope["default"]) == ("slope", 0.01)


# distributions


def test_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(
        capsys,
        *("distributions", "--fan-in", "6", "--fan-out", "4", "--samples", "1000", "--seed", "3"),
        *("--initializer", "he_normal", "--initializer", "zeros", "--initializer", "random_normal(stddev=0.01)"),
    )
    assert [drawn["name"] for drawn in found["initializers"]] == ["he_normal", "zeros", "random_normal(stddev=0.01)"]
    for drawn in found["initializers"]:
        assert set(drawn) >= {"name", "formula", "asked", "drawn", "samples", "distinct_rows", "singular_values"}
        assert set(drawn) >= {"atoms", "sigma_w_squared", "cost"}
        assert drawn["cost"] > 0
        assert set(drawn["asked"]) >= MOMENTS
        assert set(drawn["drawn"]) >= MOMENTS
        assert drawn["samples"] == 1000
        assert len(drawn["singular_values"]) == 4
        assert drawn["singular_values"] == sorted(drawn["singular_values"], reverse=True)
    he, zeros, normal = found["initializers"]
    law = scheme("he_normal").law(LayerShape(6, 4))
    assert he["asked"] == {
        "mean": 0,
        "standard_deviation": pytest.approx(math.sqrt(1 / 3), rel=1e-12),
        "minimum": pytest.approx(law.minimum),
        "maximum": pytest.approx(law.maximum),
        "kurtosis": pytest.approx(law.kurtosis),
        "zero_fraction": 0,
    }
    assert 1.8 < he["asked"]["kurtosis"] < 3  # of a cut normal: between a uniform's and a normal's
    assert he["sigma_w_squared"] == pytest.approx(2, rel=1e-12)
    assert he["atoms"] == []
    # 1,000 draws: five standard errors.
    assert abs(he["drawn"]["mean"]) < 5 * math.sqrt(1 / 3 / 1000)
    assert he["drawn"]["standard_deviation"] == pytest.approx(math.sqrt(1 / 3), rel=5 / math.sqrt(2000))
    assert law.minimum <= he["drawn"]["minimum"] < he["drawn"]["maximum"] <= law.maximum
    matrix = distributions.weights("he_normal", LayerShape(6, 4, 2, 10), 3)[0].double().numpy()
    np.testing.assert_allclose(he["singular_values"], np.linalg.svd(matrix, compute_uv=False), rtol=1e-5)
    assert he["distinct_rows"] == 4
    assert zeros["distinct_rows"] == 1
    for moments in (zeros["asked"], zeros["drawn"]):
        assert moments.pop("reasons") == {"kurtosis": "not defined, or known from the data only"}
        assert moments == dict.fromkeys(MOMENTS, 0) | {"kurtosis": None, "zero_fraction": 1}
    assert zeros["atoms"] == [{"value": 0, "asked": 1, "drawn": 1}]
    assert zeros["sigma_w_squared"] == 0
    assert zeros["singular_values"] == [0, 0, 0, 0]
    assert normal["asked"]["minimum"] is None
    assert normal["asked"]["maximum"] is None
    assert normal["asked"]["kurtosis"] == 3
    assert normal["drawn"]["kurtosis"] == pytest.approx(3, abs=5 * math.sqrt(24 / 1000))
    assert normal["asked"]["reasons"] == {"minimum": "unbounded", "maximum": "unbounded"}
    assert (found["fan_in"], found["fan_out"]) == (6, 4)


def test_distributions_of_a_single_initializer_has_no_company(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "distributions", *TINY, "--samples", "10", "--initializer", "xavier_uniform")
    assert [drawn["name"] for drawn in found["initializers"]] == ["glorot_uniform"]
    assert found["spec"]["initializer"] == "glorot_uniform"


def test_distributions_by_default_draws_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "distributions", "--samples", "10")
    assert [drawn["name"] for drawn in found["initializers"]] == ["he_normal", "he_uniform", "torch_default"]
    assert (found["fan_in"], found["fan_out"]) == (64, 64)


@pytest.mark.parametrize("text", ["zeros", "constant(value=0.5)", "random_normal(stddev=0)", "orthogonal(gain=0)"])
def test_distinct_rows_of_equal_neurons(capsys: pytest.CaptureFixture[str], text: str) -> None:
    found = _ask(capsys, "distributions", "--fan-in", "7", "--fan-out", "5", "--samples", "35", "--initializer", text)
    assert found["initializers"][0]["distinct_rows"] == 1


EVERY_INITIALIZER = [*INITIALIZERS, "random_normal(mean=1e30, stddev=1e30)", "custom(distribution=two_point)"]


@pytest.mark.parametrize("text", EVERY_INITIALIZER)
@pytest.mark.parametrize("phi", ["relu", "tanh"])
@pytest.mark.parametrize("fans", [(1, 1), (3, 2)], ids=str)
def test_distributions_of_every_initializer(
    capsys: pytest.CaptureFixture[str], text: str, phi: str, fans: tuple[int, int]
) -> None:
    arguments = ["--fan-in", str(fans[0]), "--fan-out", str(fans[1]), "--samples", "7", "--activation", phi]
    arguments += ["--initializer", text]
    refusal = None
    try:
        require_answer(text, LayerShape(*fans, 2, 10, phi))
    except BadInput as problem:
        refusal = f"{problem}\n"
    if refusal is None:
        _ask(capsys, "distributions", *arguments)
    else:
        assert main(["distributions", *arguments]) == 2
        assert capsys.readouterr() == ("", refusal)


@pytest.mark.parametrize("names", [("looks_linear", "zeros"), ("zeros", "looks_linear")])
def test_an_initializer_without_an_answer_for_the_layer_is_bad_input(
    capsys: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    flags = [text for name in names for text in ("--initializer", name)]
    arguments = ["distributions", "--width", "5", "--samples", "10", *flags]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("initializer: 'looks_linear' is not allowed; give it an even width")
    # The drawn layer decides: the output layer mirrors its inputs alone, and here there are ten of them.
    _ask(capsys, *arguments, "--layer", "201", "--fan-in", "10")


def test_distributions_of_what_depends_on_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--width", "16", "--samples", "256", "--initializer", "lsuv")
    (found,) = _ask(capsys, "distributions", *arguments)["initializers"]
    assert found["asked"]["standard_deviation"] is None
    assert found["sigma_w_squared"] is None
    assert found["reasons"]["sigma_w_squared"] == "not defined, or known from the data only"
    assert found["drawn"]["standard_deviation"] > 0
    # Free fans are no layer of the network: then it fits to N(0, 1) inputs, which the data do not touch.
    moons, blobs = (
        _ask(capsys, "distributions", *arguments, *data, "--fan-in", "20")["initializers"][0]["drawn"]
        for data in (("--dataset", "moons"), ("--dataset", "blobs"))
    )
    assert moons == blobs


def test_atoms_are_the_values_that_carry_probability(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(
        capsys,
        *("distributions", "--fan-in", "40", "--fan-out", "40", "--samples", "1600"),
        *("--initializer", "sparse(sparsity=0.25)", "--initializer", "custom(distribution=rademacher)"),
        *("--initializer", "custom(distribution=two_point, share=0.2)", "--initializer", "random_normal"),
    )
    sparse, rademacher, two_point, normal = found["initializers"]
    assert sparse["atoms"] == [{"value": 0, "asked": 0.25, "drawn": 0.25}]
    assert (sparse["asked"]["zero_fraction"], sparse["drawn"]["zero_fraction"]) == (0.25, 0.25)
    for drawn, asked in ((rademacher, [0.5, 0.5]), (two_point, [0.1, 0.8, 0.1])):
        assert [atom["asked"] for atom in drawn["atoms"]] == pytest.approx(asked)
        assert sum(atom["drawn"] for atom in drawn["atoms"]) == pytest.approx(1)
        for atom in drawn["atoms"]:
            spread = math.sqrt(atom["asked"] * (1 - atom["asked"]) / 1600)
            assert atom["drawn"] == pytest.approx(atom["asked"], abs=5 * spread)
    assert normal["atoms"] == []
    assert normal["asked"]["zero_fraction"] == 0


@pytest.mark.parametrize("knob", [("--view", "tails"), ("--view", "cumulative"), ("--unit", "deviations")])
def test_how_a_figure_is_drawn_changes_no_number(capsys: pytest.CaptureFixture[str], knob: tuple[str, str]) -> None:
    arguments = ("distributions", *TINY, "--samples", "10")
    one, other = _ask(capsys, *arguments), _ask(capsys, *arguments, *knob)
    for found in (*one["initializers"], *other["initializers"]):
        del found["cost"]  # measured anew
    assert one == other


# translate


@pytest.mark.parametrize("slug", list(TRANSLATIONS))
def test_translate(capsys: pytest.CaptureFixture[str], slug: str) -> None:
    for fans in ((64, 64), (1, 1), (3, 2)):
        found = _ask(capsys, "translate", "--translate", slug, "--fan-in", str(fans[0]), "--fan-out", str(fans[1]))
        assert set(found) >= {"slug", "framework", "written", "initializer", "bias", "trap", "sentence", "lines"}
        assert found["slug"] == slug
        law = scheme(found["initializer"]).law(LayerShape(*fans, 2, 10))
        assert found["mean"] == pytest.approx(law.mean)
        assert found["standard_deviation"] == pytest.approx(law.standard_deviation)
        assert found["sigma_w_squared"] == pytest.approx(fans[0] * law.variance)
        assert found["sentence"].endswith(".")
        assert list(found["lines"]) == list(FRAMEWORKS)


def test_translate_by_default_is_torchs_own_layer(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "translate")
    assert (found["slug"], found["initializer"]) == (DistributionsKnobs().translate, "torch_default")
    assert found["sigma_w_squared"] == pytest.approx(1 / 3)


# Figures in files


def test_distributions_writes_its_figure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "weights.html"
    arguments = ("distributions", *TINY, "--samples", "10", "--initializer", "orthogonal")
    found = _ask(capsys, *arguments, "--figure", str(target))
    text = target.read_text(encoding="utf-8")
    assert "orthogonal" in text
    assert "Density of the weights" in text
    assert [drawn["name"] for drawn in found["initializers"]] == ["orthogonal"]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_signal_writes_its_figure(capsys: pytest.CaptureFixture[str], tmp_path: Path, direction: str) -> None:
    target = tmp_path / "signal.html"
    found = _ask(capsys, "signal", *TINY, "--direction", direction, "--figure", str(target))
    text = target.read_text(encoding="utf-8")
    assert f"{direction.title()}: second moment" in text
    assert f"layer {len(found['layers'])}" in text


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("weights.gif", ".html, .png, .svg"), ("weights", ".html"), ("missing/weights.html", "written")],
)
def test_a_figure_that_cannot_be_written_is_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, allowed: str
) -> None:
    assert main(["distributions", *TINY, "--samples", "10", "--figure", str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("figure: '")
    assert allowed in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_installed", [False, True], ids=["without kaleido", "without a browser"])
def test_a_picture_needs_what_may_be_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    def missing(chart: go.Figure, *arguments: Any, **options: Any) -> None:
        raise RuntimeError("\n\nKaleido requires Google Chrome to be installed.\n")  # as it says so, in several lines

    monkeypatch.setattr(go.Figure, "write_image", missing)
    monkeypatch.setattr(saving, "find_spec", lambda name: object() if is_installed else None)
    assert main(["distributions", *TINY, "--samples", "10", "--figure", str(tmp_path / "weights.png")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.count("is not allowed") == 1
    assert ("no Chromium" if is_installed else "install the package kaleido") in printed.err


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal"])
@pytest.mark.parametrize("scale", ["5e-324", "1e-300"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_distributions_of_the_smallest_scales_are_drawn_or_refused(
    capsys: pytest.CaptureFixture[str], scale: str, distribution: str
) -> None:
    text = f"variance_scaling(scale={scale}, distribution={distribution})"
    code = main(["distributions", "--fan-in", "3", "--fan-out", "2", "--samples", "7", "--initializer", text])
    printed = capsys.readouterr()
    if code == 0:
        assert not list(_unexplained(_strict(printed.out)))
    else:
        assert code == 2
        assert printed.err.startswith("initializer: 'variance_scaling(scale=")


# signal

LAYER = {"layer", "forward", "backward", "activation_mean", "variance_over_samples", "dead_fraction"}
LAYER |= {"saturated_fraction"}
MEASURED = {"measured", "low", "high", "theory", "theory_low", "theory_high", "log10_measured", "log10_theory"}


@pytest.mark.parametrize("dataset", ["gaussian", "moons", "digits"])
def test_signal(capsys: pytest.CaptureFixture[str], dataset: str) -> None:
    found = _ask(capsys, "signal", "--depth", "3", "--width", "8", "--dataset", dataset, "--seeds", "3")
    assert [layer["layer"] for layer in found["layers"]] == [1, 2, 3]
    assert found["verdict"].endswith(".")
    for layer in found["layers"]:
        assert set(layer) >= LAYER
        for direction in ("forward", "backward"):
            moments = layer[direction]
            assert set(moments) >= MEASURED
            assert 0 < moments["low"] <= moments["measured"] <= moments["high"]
            assert math.log10(moments["measured"]) == pytest.approx(moments["log10_measured"], abs=1e-9)
        assert 0 <= layer["dead_fraction"] <= 1
        assert layer["activation_mean"] >= 0  # ReLU
        assert layer["variance_over_samples"] > 0


@pytest.mark.parametrize("dataset", ["gaussian", "digits"])
def test_signal_stands_beside_theory(capsys: pytest.CaptureFixture[str], dataset: str) -> None:
    found = _ask(capsys, "signal", "--depth", "3", "--width", "32", "--dataset", dataset, "--seeds", "3")
    for layer in found["layers"]:
        for direction in ("forward", "backward"):
            moments = layer[direction]
            assert 0 < moments["theory_low"] < moments["theory_median"] < moments["theory_high"]
            assert moments["theory_median"] <= moments["theory"] * 1.01
            assert math.log10(moments["theory"]) == pytest.approx(moments["log10_theory"], abs=1e-9)
        assert layer["saturated_fraction"] == pytest.approx(0.5, abs=0.15)  # ReLU: half of all slopes are 0
        assert layer["correlation"] == pytest.approx(layer["theory_correlation"], abs=0.2)
        assert layer["distinct_rows"] == 32
    last = found["layers"][-1]["backward"]
    assert last["theory_median"] == pytest.approx(last["measured"])
    assert [rule["is_kept"] for rule in found["rules"]] == [False, True]


def test_signal_says_why_theory_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "signal", *TINY, "--initializer", "constant(value=0.1)", "--seeds", "2")
    for layer in found["layers"]:
        assert layer["forward"]["theory"] is None
        assert "weights of mean 0" in layer["forward"]["theory_reason"]
        assert layer["distinct_rows"] == 1


def test_theory(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "theory", "--activation", "tanh", "--sigma-w", "1.5", "--sigma-b", "0.2")
    assert found["regime"] == "chaotic"
    assert found["chi_1"] == pytest.approx(1.10094, abs=1e-5)
    assert found["edge_of_chaos"] == pytest.approx(1.30415, abs=1e-5)
    names = {"q_star", "chi_1", "chi_parallel", "xi_q", "xi_c", "c_star", "regime", "edge_of_chaos"}
    assert set(found) >= names
    for text in ("relu", "softplus"):
        for sigma_w, sigma_b in (("0", "0"), ("1", "0"), ("3", "0.5"), ("100", "100")):
            _ask(capsys, "theory", "--activation", text, "--sigma-w", sigma_w, "--sigma-b", sigma_b)


def test_signal_of_one_seed_has_no_spread(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "signal", "--depth", "2", "--width", "8", "--dataset", "gaussian", "--seeds", "1")
    for layer in found["layers"]:
        assert layer["forward"]["low"] == layer["forward"]["measured"] == layer["forward"]["high"]


def test_signal_of_zeros_gives_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "signal", *TINY, "--initializer", "zeros", "--seeds", "2")
    forward = found["layers"][0]["forward"]
    assert forward["measured"] == 0
    assert forward["log10_measured"] is None
    assert forward["reason"] == "every value is 0"
    assert "gone" in found["verdict"]


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("random_normal(stddev=1e30)", 3),
        ("random_normal(stddev=1e30)", 6),  # moments beyond double precision, logarithms right
        ("random_normal(stddev=1e30)", 20),  # activations beyond it, too
        ("constant(value=1e30)", 12),
        ("constant(value=-1e30)", 12),
        ("random_normal(stddev=1e-30)", 20),
        ("orthogonal(gain=1e15)", 30),
    ],
)
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_signal_beyond_double_precision_gives_reasons(
    capsys: pytest.CaptureFixture[str], text: str, depth: int, activation: str
) -> None:
    arguments = ["--depth", str(depth), "--width", "4", "--dataset", "gaussian", "--batch-size", "8", "--seeds", "2"]
    found = _ask(capsys, "signal", *arguments, "--initializer", text, "--activation", activation)
    assert len(found["layers"]) == depth


def test_signal_where_only_the_upper_quantile_overflows_gives_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """The moments of layer 6 straddle 1e308 from seed to seed."""
    arguments = ["--depth", "6", "--width", "4", "--dataset", "gaussian", "--batch-size", "8", "--seeds", "9"]
    arguments += ["--activation", "identity"]
    reference = _ask(capsys, "signal", *arguments, "--initializer", "random_normal(stddev=1)")
    stddev = 10 ** ((307.9 - reference["layers"][5]["forward"]["log10_measured"]) / 12)
    found = _ask(capsys, "signal", *arguments, "--initializer", f"random_normal(stddev={stddev!r})")
    forward = found["layers"][5]["forward"]
    assert forward["measured"] is not None
    assert forward["high"] is None


# train

MEMBER = {"initializer", "seed", "learning_rate", "status", "diverged_at", "loss", "train_accuracy", "test_accuracy"}
MEMBER |= {"final"}
FINAL = {"loss", "train_accuracy", "test_accuracy"}


def _hold_members(found: dict[str, Any]) -> None:
    """Check the members of a run: their names, lengths, and their status against the design's thresholds."""
    constant = load(found["spec"]["dataset"]).constant_loss
    assert found["constant_loss"] == pytest.approx(constant)
    for member in found["members"]:
        assert set(member) >= MEMBER
        assert set(member["final"]) >= FINAL
        for curve in ("loss", "train_accuracy", "test_accuracy"):
            assert len(member[curve]) == len(found["steps"])
        assert member["status"] in STATUSES
        loss = member["final"]["loss"]
        assert member["status"] == status(math.nan if loss is None else loss, constant, member["diverged_at"])
        # R^2 of a regression has no lower end.
        lowest = -math.inf if DATASETS[found["spec"]["dataset"]].is_regression else 0
        for accuracy in (*member["train_accuracy"], *member["test_accuracy"]):
            assert accuracy is None or lowest <= accuracy <= 1
        assert member["loss"][0] is not None or member["diverged_at"] is not None


def test_train(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "train", *TINY, "--seeds", "2", "--seed", "5")
    assert found["steps"] == [0, 1, 2, 3]
    assert [member["seed"] for member in found["members"]] == [5, 6]
    assert {member["initializer"] for member in found["members"]} == {"he_normal"}
    assert {member["learning_rate"] for member in found["members"]} == {0.05}
    assert all(member["diverged_at"] is None for member in found["members"])
    _hold_members(found)


@pytest.mark.parametrize(
    ("every", "steps"), [("1", [0, 1, 2, 3, 4, 5]), ("2", [0, 2, 4, 5]), ("5", [0, 5]), ("100000", [0, 5])]
)
def test_train_records_each_so_many_steps(capsys: pytest.CaptureFixture[str], every: str, steps: list[int]) -> None:
    found = _ask(capsys, "train", *TINY[:-1], "5", "--seeds", "1", "--every", every)
    assert found["steps"] == steps
    _hold_members(found)


def test_train_reports_divergence_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(
        capsys, "train", *TINY, "--seeds", "2", "--learning-rate", "1e10", "--initializer", "random_normal(stddev=5)"
    )
    for member in found["members"]:
        assert member["status"] == "diverged"
        assert member["loss"][0] is not None
    _hold_members(found)
    left = [member for member in found["members"] if member["diverged_at"] is not None]
    for member in left:
        assert member["final"]["loss"] is None
        assert f"at step {member['diverged_at']}" in member["final"]["reason"]


def test_train_from_beyond_the_finite_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "train", *TINY, "--seeds", "1", "--initializer", "constant(value=1e30)")
    (member,) = found["members"]
    assert (member["status"], member["diverged_at"]) == ("diverged", 0)
    assert member["loss"] == [None] * 4
    _hold_members(found)


def test_a_run_whose_loss_overflows_outside_the_evaluation_subset_gives_a_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Digits has 1,437 training samples, 512 of which are evaluated on the way."""
    overflown = 0
    for number in range(16):
        found = _ask(
            capsys,
            *("train", "--depth", "1", "--width", "4", "--steps", "1", "--batch-size", "1", "--seeds", "4"),
            *("--activation", "identity", "--learning-rate", "0"),
            *("--initializer", f"random_normal(stddev={10 ** (17.95 + 0.02 * number):.6g})"),
        )
        _hold_members(found)
        overflown += sum(m["loss"][-1] is not None and m["final"]["loss"] is None for m in found["members"])
    assert overflown > 0


@pytest.mark.parametrize("residual", ["off", "zero"])
def test_a_curve_that_comes_back_from_beyond_the_numbers_gives_a_reason(
    capsys: pytest.CaptureFixture[str], residual: str
) -> None:
    """Evaluated by running statistics, batch normalization may overflow at a step whose batch has a loss."""
    found = _ask(
        capsys,
        *("train", "--depth", "3", "--width", "6", "--dataset", "moons", "--steps", "8", "--every", "1"),
        *("--normalization", "batch", "--residual", residual, "--optimizer", "adam", "--learning-rate", "1e10"),
    )
    assert any(None in member["loss"] for member in found["members"])
    _hold_members(found)


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "--seeds", "1"]) == 0
    printed = capsys.readouterr()
    _strict(printed.out)
    assert "step 3 of 3" in printed.err


# compare

RANK = {"initializer", "learning_rates", "score", *STATUSES}
SCORE = {"median", "iqm", "low", "high"}


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(
        capsys,
        *("compare", *TINY, "--seeds", "5", "--initializer", "he_normal"),
        *("--initializers", "zeros", "--initializers", "random_normal(stddev=1)"),
    )
    assert len(found["members"]) == 15
    names = {"he_normal", "zeros", "random_normal(stddev=1)"}
    assert {rank["initializer"] for rank in found["ranking"]} == names
    assert {(m["initializer"], m["seed"]) for m in found["members"]} == {(n, s) for n in names for s in range(5)}
    iqms = [rank["score"]["iqm"] for rank in found["ranking"]]
    assert iqms == sorted(iqms, reverse=True)
    for rank in found["ranking"]:
        assert set(rank) >= RANK
        assert set(rank["score"]) >= SCORE
        assert rank["learning_rates"] == [0.05]
        assert sum(rank[name] for name in STATUSES) == 5
        assert rank["score"]["low"] <= rank["score"]["iqm"] <= rank["score"]["high"]
        finals = [m["final"]["test_accuracy"] for m in found["members"] if m["initializer"] == rank["initializer"]]
        assert rank["score"]["median"] == pytest.approx(float(np.median(finals)))
        assert rank["score"]["iqm"] == pytest.approx(float(np.mean(sorted(finals)[1:4])))
    _hold_members(found)


def test_compare_of_few_seeds_has_no_interval_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "compare", *TINY, "--seeds", "2", "--initializers", "zeros;orthogonal")
    assert found["spec"]["initializer"] == "zeros"  # the first of the list is the network's own
    assert {rank["initializer"] for rank in found["ranking"]} == {"zeros", "orthogonal"}
    for rank in found["ranking"]:
        assert (rank["score"]["low"], rank["score"]["high"]) == (None, None)
        assert rank["score"]["reason"] == "no interval below 5 seeds"


def test_compare_over_learning_rates(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(
        capsys,
        *("compare", *TINY, "--seeds", "2", "--initializers", "he_normal"),
        *("--learning-rates", "0.1", "--learning-rates", "0.001", "--learning-rates", "1e10"),
    )
    assert {member["learning_rate"] for member in found["members"]} == {0.1, 0.001, 1e10}
    assert len(found["members"]) == 6
    (rank,) = found["ranking"]
    assert len(rank["learning_rates"]) == 2  # one per half of the seeds
    assert set(rank["learning_rates"]) <= {0.1, 0.001, 1e10}
    assert sum(rank[name] for name in STATUSES) == 2
    _hold_members(found)


# code and link


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_code(capsys: pytest.CaptureFixture[str], framework: str) -> None:
    arguments = ["--framework", framework, "--initializer", "orthogonal(gain=2)", "--width", "32", "--seed", "9"]
    found = _ask(capsys, "code", *arguments)
    assert found["framework"] == framework
    assert found["code"] == export.snippet("orthogonal(gain=2)", framework, LayerShape(32, 32, 2, 10), 9)
    compile(found["code"], "<code>", "exec")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    "changes",
    [
        ["--initializer", 'custom(standard_deviation="sqrt(2/fan_in)")'],
        ["--initializer", "kumar", "--activation", "tanh"],
        ["--initializer", "lsuv"],
        ["--initializer", "looks_linear", "--bias", "constant(value=0.5)"],
        ["--initializer", "sparse_martens", "--bias", "normal(stddev=0.1)"],
    ],
    ids=str,
)
def test_code_of_new_kinds(capsys: pytest.CaptureFixture[str], framework: str, changes: list[str]) -> None:
    found = _ask(capsys, "code", "--framework", framework, *changes)
    compile(found["code"], "<code>", "exec")


@pytest.mark.parametrize("lens", ["signal", "train", "compare"])
def test_a_network_that_cannot_start_is_bad_input(capsys: pytest.CaptureFixture[str], lens: str) -> None:
    for arguments in (["--initializer", "kumar"], ["--width", "5", "--initializer", "looks_linear"]):
        assert main([lens, "--steps", "2", "--seeds", "1", *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert printed.err.startswith(f"initializer: '{arguments[-1]}' is not allowed; give it ")


@pytest.mark.parametrize("bias", ["zeros", "constant(value=0.5)", "normal(stddev=0.1)", "log_prior"])
@pytest.mark.parametrize("output", ["same", "zeros", "small"])
def test_train_with_biases_and_an_output_rule(capsys: pytest.CaptureFixture[str], bias: str, output: str) -> None:
    found = _ask(capsys, "train", *TINY, "--seeds", "1", "--bias", bias, "--output", output)
    assert (found["spec"]["bias"], found["spec"]["output"]) == (bias, output)
    _hold_members(found)
    if output == "zeros" and bias in ("zeros", "log_prior"):
        # All that is left are the biases of the output: guessing evenly, or the class frequencies.
        expected = math.log(2) if bias == "zeros" else found["constant_loss"]
        assert found["members"][0]["loss"][0] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("slug", [slug or "home" for slug in LENSES])
def test_link_opens_what_was_asked(capsys: pytest.CaptureFixture[str], slug: str) -> None:
    found = _ask(capsys, "link", slug, "--depth", "30", "--initializer", "random_normal(stddev=1e-10)")
    opened = permalink.parse(LENSES["" if slug == "home" else slug], parse_qs(found["query"], keep_blank_values=True))
    assert opened.problems == ()
    assert opened.spec == Spec(depth=30, initializer="random_normal(stddev=1e-10)")


def test_link_with_knobs(capsys: pytest.CaptureFixture[str]) -> None:
    found = _ask(capsys, "link", "compare", "--initializers", "zeros", "--initializers", "orthogonal", "--seeds", "3")
    assert found["query"] == "v=1&initializer=zeros&initializers=orthogonal&seeds=3"
    assert _ask(capsys, "link", "live")["query"] == "v=1"


# Flags


def test_every_field_is_a_flag_with_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in COMMANDS.items():
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        for owner in command.owners:
            for field in fields_of(owner):
                assert f"--{field.name.replace('_', '-')} VALUE" in text


@pytest.mark.parametrize(
    ("lens", "flags"),
    [
        ("distributions", ["--fan-in", "--fan-out", "--samples", "--initializer", "--view", "--figure"]),
        ("translate", ["--translate", "--fan-in", "--fan-out"]),
        ("signal", ["--seeds", "--direction", "--figure"]),
        ("train", ["--seeds", "--every"]),
        ("compare", ["--initializers", "--seeds", "--learning-rates"]),
        ("code", ["--framework"]),
    ],
)
def test_flags_of_the_contract(capsys: pytest.CaptureFixture[str], lens: str, flags: list[str]) -> None:
    assert main([lens, "-h"]) == 0
    text = capsys.readouterr().out
    blocks = ["--normalization", "--residual", "--schedule", "--weight-decay", "--clip"]
    for flag in [*flags, "--batch-size", "--learning-rate", "--seed", "--bias", "--output", *blocks]:
        assert f"{flag} VALUE" in text


def test_a_value_may_be_tied_to_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    tied = _ask(capsys, "code", "--depth=3", "--learning-rate=1e-3", "--initializer=random_normal(stddev=0.5)")
    apart = _ask(
        capsys, "code", "--depth", "3", "--learning-rate", "1e-3", "--initializer", "random_normal(stddev=0.5)"
    )
    assert tied == apart
    assert tied["spec"]["initializer"] == "random_normal(stddev=0.5)"


def test_the_spec_is_given_back_whole(capsys: pytest.CaptureFixture[str]) -> None:
    given_spec = {
        "depth": 3,
        "width": 7,
        "activation": "leaky_relu(slope=0.2)",
        "initializer": 'custom(standard_deviation="2/fan_in")',
        "bias": "constant(value=0.5)",
        "output": "small",
        "normalization": "layer",
        "residual": "depth_scaled",
        "dataset": "xor",
        "batch_size": 5,
        "optimizer": "adamw",
        "learning_rate": 0.125,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "clip": 1.5,
        "steps": 2,
        "seed": 2**31 - 1,
    }
    arguments = [text for name, value in given_spec.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    assert list(given_spec) == [field.name for field in fields_of(Spec)]
    assert _ask(capsys, "link", "live", *arguments)["spec"] == given_spec


@pytest.mark.parametrize(
    ("given", "depth", "width"),
    [
        (["--width", "32-16-8"], 3, [32, 16, 8]),
        (["--width=32-16-8", "--depth", "30"], 3, [32, 16, 8]),
        (["--width", "8-8", "--depth", "30"], 2, 8),
        (["--width", "8", "--depth", "30"], 30, 8),
    ],
    ids=str,
)
def test_widths_by_layer(capsys: pytest.CaptureFixture[str], given: list[str], depth: int, width: Any) -> None:
    found = _ask(capsys, "link", "live", *given)
    assert (found["spec"]["depth"], found["spec"]["width"]) == (depth, width)
    opened = permalink.parse(LENSES["live"], parse_qs(found["query"]))
    assert opened.spec == Spec(depth=depth, width=tuple(width) if isinstance(width, list) else width)


def test_every_lens_takes_widths_by_layer(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--width", "6-5-4", "--dataset", "blobs", "--batch-size", "8", "--steps", "2")
    drawn = _ask(capsys, "distributions", *given, "--samples", "10")
    assert (drawn["fan_in"], drawn["fan_out"]) == (6, 5)
    assert len(_ask(capsys, "signal", *given, "--seeds", "1")["layers"]) == 3
    _hold_members(_ask(capsys, "train", *given, "--seeds", "1"))
    _hold_members(_ask(capsys, "compare", *given, "--seeds", "1", "--initializers", "zeros;orthogonal"))
    code = _ask(capsys, "code", *given, "--initializer", "orthogonal")["code"]
    assert "torch.nn.Linear(6, 5)" in code


@pytest.mark.parametrize("normalization", ["none", *NORMALIZATIONS])
@pytest.mark.parametrize("residual", ["off", *RESIDUALS])
def test_train_with_normalization_and_residual(
    capsys: pytest.CaptureFixture[str], normalization: str, residual: str
) -> None:
    blocks = ("--normalization", normalization, "--residual", residual)
    found = _ask(capsys, "train", *TINY, "--seeds", "2", *blocks)
    assert (found["spec"]["normalization"], found["spec"]["residual"]) == (normalization, residual)
    _hold_members(found)
    layers = _ask(capsys, "signal", *TINY, "--seeds", "2", *blocks)["layers"]
    assert len(layers) == 2
    if normalization == "batch" and residual == "off":
        # Each pre-activation has mean 0 and variance 1 over the batch.
        for layer in layers:
            assert layer["forward"]["measured"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_train_with_every_optimizer_and_schedule(
    capsys: pytest.CaptureFixture[str], optimizer: str, schedule: str
) -> None:
    arguments = ("train", *TINY, "--seeds", "1", "--optimizer", optimizer, "--schedule", schedule)
    plain = _ask(capsys, *arguments)
    _hold_members(plain)
    for more in (("--weight-decay", "10"), ("--clip", "0.01")):
        other = _ask(capsys, *arguments, *more)
        _hold_members(other)
        assert other["members"][0]["loss"][0] == plain["members"][0]["loss"][0]
        # A norm near 0.01 matters to what divides by it only beside its epsilon.
        if more[0] == "--weight-decay" or optimizer in ("sgd", "momentum", "nesterov"):
            assert other["members"][0]["loss"][-1] != plain["members"][0]["loss"][-1]


@pytest.mark.parametrize("name", [name for name, record in DATASETS.items() if record.has_labels])
def test_train_and_compare_on_every_data_set(capsys: pytest.CaptureFixture[str], name: str) -> None:
    given = ("--depth", "1", "--width", "6", "--dataset", name, "--batch-size", "16", "--steps", "3", "--seeds", "1")
    found = _ask(capsys, "train", *given)
    _hold_members(found)
    _hold_members(_ask(capsys, "compare", *given, "--initializers", "zeros;orthogonal"))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["train", "--help"], ["link", "compare", "-h"], ["code", "-h"]]
)
def test_help_is_not_an_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out.strip()
    assert printed.err == ""


# Bad input: arguments, the field that is named, and part of what is allowed

BAD_NUMBERS = ["", " ", "nan", "inf", "-inf", "1e999", "9" * 400, "x", "1 ", "True", "\0", "1\n2", "-1", "１", "\udcff"]
BAD: list[tuple[list[str], str, str]] = [
    (["fly"], "lens", "one of catalogue, distributions, signal, theory, train, compare, translate, code, link"),
    (["Train"], "lens", "one of"),
    ([""], "lens", "one of"),
    (["--depth", "3"], "lens", "one of"),
    (["x" * 10_000], "lens", "one of"),
    (["train\n"], "lens", "one of"),
    (["train", "--dpeth", "3"], "flag", "did you mean --depth?"),
    (["train", "--batch_size", "3"], "flag", "did you mean --batch-size?"),
    (["train", "3"], "flag", "--depth"),
    (["train", ""], "flag", "--depth"),
    (["train", "-"], "flag", "--depth"),
    (["train", "--"], "flag", "--depth"),
    (["train", "--fan-in", "3"], "flag", "--depth"),
    (["signal", "--every", "3"], "flag", "--depth"),
    (["catalogue", "--depth", "3"], "flag", "one of"),
    (["train", "--dep", "3"], "flag", "--depth"),  # no abbreviations
    (["train", "--" + "x" * 10_000], "flag", "--depth"),
    (["train", "--depth\n", "3"], "flag", "--depth"),
    (["train", "--depth"], "depth", "a whole number from 1 to 200"),
    (["train", "--depth="], "depth", "a whole number from 1 to 200"),
    (["train", "--depth", "--width"], "depth", "a whole number from 1 to 200"),
    (["train", "--depth", "0"], "depth", "a whole number from 1 to 200"),
    (["train", "--depth", "201"], "depth", "a whole number from 1 to 200"),
    (["train", "--depth", "3", "--depth", "3"], "depth", "once"),
    (["train", "--initializer", "zeros", "--initializer", "he_normal"], "initializer", "once"),
    (["train", "--learning-rate", "-0.1"], "learning_rate", "a number from 0 to 10000000000"),
    (["train", "--learning-rate", "1e11"], "learning_rate", "a number from 0 to 10000000000"),
    (["train", "--seed", "2147483648"], "seed", "a whole number from 0 to 2147483647"),
    (["train", "--seeds", "17"], "seeds", "a whole number from 1 to 16"),
    (["train", "--every", "0"], "every", "a whole number from 1 to 100000"),
    (["train", "--activation", "rellu"], "activation", "did you mean relu?"),
    (["train", "--initializer", "he_norm"], "initializer", "did you mean he_normal?"),
    (["train", "--initializer", "he_normal(gain=2)"], "initializer", "no parameters"),
    (["train", "--initializer", "random_normal(stddev=nan)"], "initializer", "for stddev a number from 0 to 1e+30"),
    (["train", "--initializer", "random_uniform(minval=1)"], "initializer", "minval below maxval"),
    (["train", "--initializer", "x" * 10_000], "initializer", "at most 300 characters"),
    (["train", "--initializer", "custom(standard_deviation=fan_inn)"], "initializer", "for standard_deviation an expr"),
    (["train", "--initializer", "custom(standard_deviation=sqrt(2))"], "initializer", 'text in "quotes"'),
    (["signal", "--initializer", "custom(standard_deviation=-1)"], "initializer", "a finite number above 0"),
    (["train", "--activation", "leaky_relu(slope=11)"], "activation", "for slope a number from -10 to 10"),
    (["train", "--activation", "leaky_relu(slop=1)"], "activation", "did you mean slope?"),
    (["train", "--activation", "relu(slope=1)"], "activation", "no parameters"),
    (["train", "--bias", "constnt"], "bias", "did you mean constant?"),
    (["train", "--bias", "normal(stddev=-1)"], "bias", "for stddev a number from 0 to"),
    (["train", "--output", "tiny"], "output", "one of same, zeros, small"),
    (["train", "--width", "0"], "width", "a whole number from 1 to 1024, or at most 16 of them joined by -"),
    (["train", "--width", "64-0"], "width", "a whole number from 1 to 1024, or at most 16 of them joined by -"),
    (["train", "--width", "64-"], "width", "a whole number from 1 to 1024, or at most 16 of them joined by -"),
    (["train", "--width", "-".join(["8"] * 17)], "width", "at most 16 of them"),
    (["train", "--width", "8,4"], "width", "joined by -"),
    (["train", "--normalization", "bach"], "normalization", "did you mean batch?"),
    (["train", "--normalization", "batch", "--batch-size", "1"], "batch_size", "at least 2 for batch normalization"),
    (["compare", "--normalization", "batch", "--batch-size", "1"], "batch_size", "at least 2 for batch normalization"),
    (["train", "--residual", "plan"], "residual", "did you mean plain?"),
    (["train", "--residual", "plain", "--width", "8-4"], "width", "the same width in every layer"),
    (["signal", "--residual", "zero", "--width", "8-4"], "width", "the same width in every layer"),
    (["compare", "--residual", "zero", "--width", "8-4"], "width", "the same width in every layer"),
    (["train", "--schedule", "warm"], "schedule", "one of constant, warmup, cosine"),
    (["train", "--weight-decay", "11"], "weight_decay", "a number from 0 to 10"),
    (["train", "--weight-decay", "-0.1"], "weight_decay", "a number from 0 to 10"),
    (["train", "--clip", "nan"], "clip", "a number from 0 to 1000000"),
    (["code", "--initializer", "kumar"], "initializer", "a slope at 0, where ReLU has none"),
    (["train", "--dataset", "gaussian"], "dataset", "one of digits, moons"),
    (["train", "--dataset", "iris"], "dataset", "one of digits"),
    (["compare", "--dataset", "gaussian"], "dataset", "one of digits, moons"),
    (["compare", "--seeds", "51"], "seeds", "a whole number from 1 to 50"),
    (["compare", "--seeds", "1", "--learning-rates", "1;2"], "seeds", "at least 2"),
    (["compare", "--learning-rates", "0"], "learning_rates", "a number above 0"),
    (["compare", "--learning-rates", "1", "--learning-rates", "1.0"], "learning_rates", "different values"),
    (["compare", "--learning-rates", "1;;2"], "learning_rates", "a number above 0"),
    (["compare", "--learning-rates", "0..1:5"], "learning_rates", "a number above 0"),
    (["compare", "--learning-rates=-1..1:5"], "learning_rates", "a number above 0"),
    (["compare", "--learning-rates", "1..0.1:5"], "learning_rates", "from a rate above 0 to a larger one"),
    (["compare", "--learning-rates", "0.1..1:1"], "learning_rates", "from 2 to 12"),
    (["compare", "--learning-rates", "0.1..1:5000"], "learning_rates", "from 2 to 12"),
    (["compare", "--learning-rates", "0.1..1"], "learning_rates", "low..high:count"),
    (["compare", "--learning-rates", ";".join(f"{n}" for n in range(1, 5000))], "learning_rates", "at most 12"),
    (["compare", "--initializers", ";".join(["zeros"] * 5000)], "initializers", "at most 520 characters"),
    (["compare", "--seeds", "0"], "seeds", "a whole number from 1 to 50"),
    (["compare", "--initializers", "zeros;he_norm"], "initializers", "did you mean he_normal?"),
    (["compare", "--initializers", "zeros;he_uniform;kaiming_uniform"], "initializers", "different values"),
    (["compare", "--initializers", ";".join(f"constant(value={n})" for n in range(41))], "initializers", "at most 40"),
    (["compare", "--curve", "accuracy"], "curve", "one of loss"),
    (["distributions", "--samples", "0"], "samples", "a whole number from 1 to 1000000"),
    (["distributions", "--fan-in", "1025"], "fan_in", "a whole number from 1 to 1024"),
    (["distributions", "--layer", "202"], "layer", "a whole number from 1 to 201"),
    (["distributions", "--view", "tail"], "view", "did you mean tails?"),
    (["distributions", "--image", "jpg"], "image", "one of png, svg"),
    (["translate", "--translate", "torch_liner"], "translate", "did you mean torch_linear?"),
    (["distributions", "--initializer", "zeros", "--initializer", "ons"], "initializers", "one of zeros"),
    (["code", "--framework", "tensorflow"], "framework", "one of torch, keras, jax, flax"),
    (["link"], "page", "one of home, distributions"),
    (["link", "train"], "page", "one of home, distributions, signal, live, compare"),
    (["link", "live", "--samples", "3"], "flag", "--depth"),
    (["link", "--depth", "3"], "page", "one of home"),
]
for _flag, _name in (("--depth", "depth"), ("--learning-rate", "learning_rate"), ("--seeds", "seeds")):
    BAD += [(["train", _flag, text], _name, "number from") for text in BAD_NUMBERS]
for _text in BAD_NUMBERS:
    BAD += [(["train", "--optimizer", _text], "optimizer", "one of " + ", ".join(OPTIMIZERS))]
    BAD += [(["train", "--width", _text], "width", "a whole number from 1 to 1024")]
    BAD += [(["train", "--initializer", _text], "initializer", "")]


@pytest.mark.parametrize(("arguments", "field", "allowed"), BAD, ids=lambda value: ascii(value)[:40])
def test_bad_input_exits_with_2_and_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], field: str, allowed: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    line = printed.err.removesuffix("\n")
    assert line.isprintable()
    assert len(line) < (2000 if field == "translate" else 1000)  # which lists many names
    assert line.startswith(f"{field}: '")
    assert " is not allowed; give " in line
    assert allowed in line


def test_nothing_at_all_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: ")


WORDS = st.sampled_from(
    ["train", "code", "link", "live", "--depth", "--depth=3", "3", "--seeds", "--initializer", "nan"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(WORDS | st.text(max_size=10), min_size=1, max_size=5).filter(lambda words: words[0] != "train"))
def test_no_command_line_raises(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code = main(words)
    printed = capsys.readouterr()
    assert code in (0, 2)
    if code == 2:
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert printed.err[:-1].isprintable()


# As a process


def _process(*arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "winit", *arguments], cwd=ROOT, capture_output=True, timeout=120, check=False
    )


def test_a_process_prints_one_json_object_and_exits_with_0() -> None:
    done = _process("train", *TINY, "--seeds", "1")
    assert done.returncode == 0
    found = _strict(done.stdout.decode())
    assert found["steps"] == [0, 1, 2, 3]
    assert b"step 3 of 3" in done.stderr


def test_a_process_refuses_bytes_that_are_not_text_in_one_line() -> None:
    done = _process("train", "--activation", b"re\xff\nlu")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"activation: 're\\udcff\\nlu' is not allowed; give a name, or name(parameter=")


def test_a_figure_has_at_most_a_million_samples(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("zeros", "he_normal", "he_uniform")
    flags = [text for name in names for text in ("--initializer", name)]
    found = _ask(capsys, "distributions", *flags, "--fan-in", "64", "--fan-out", "64", "--samples", "1000000")
    assert [one["samples"] for one in found["initializers"]] == [333_333] * 3


def test_train_takes_initializers_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--depth", "1", "--width", "4", "--steps", "3", "--seeds", "2")
    found = _ask(capsys, "train", *flags, "--beside", "zeros;orthogonal")
    names = [(member["initializer"], member["seed"]) for member in found["members"]]
    assert names == [(name, seed) for name in ("he_normal", "zeros", "orthogonal") for seed in (0, 1)]
    alone = _ask(capsys, "train", *flags)
    assert found["members"][:2] == alone["members"]


def test_commands_on_tables_start_without_scipy_and_scikit_learn() -> None:
    """Their import takes more than a second, which a short command would mostly consist of."""
    small = ("--depth", "2", "--width", "8", "--steps", "4")
    code = f"""
import sys
from winit.__main__ import main
assert main(["train", *{small}]) == 0
assert main(["compare", *{small}, "--seeds", "5", "--initializers", "zeros"]) == 0
print(sorted({{"scipy", "sklearn", "pandas", "streamlit"}} & {{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
