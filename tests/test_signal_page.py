"""The page Signal, run by Streamlit's own test harness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from winit import signal
from winit.figures.style import number_of_log10
from winit.spec import Spec
from winit.ui import answers

ROOT = Path(__file__).resolve().parent.parent
TINY = {"v": "1", "depth": "4", "width": "8", "batch_size": "8", "seeds": "2"}


def visit(**query: str) -> AppTest:
    """Open the page by its address in a new session."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.switch_page("pages/signal.py")
    for name, value in {**TINY, **query}.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, [found.message for found in at.exception]
    return at


def said(at: AppTest) -> str:
    """Return all that the page says."""
    return "\n".join(found.value for found in [*at.markdown, *at.caption]).replace("\\", "")


def test_the_page_shows_the_measured_numbers() -> None:
    at = visit(initializers="glorot_normal")
    found = [
        signal.measure(Spec(depth=4, width=8, batch_size=8, initializer=name), 2)
        for name in ("he_normal", "glorot_normal")
    ]
    assert answers.signal(found) in [block.value for block in at.markdown]
    for one in found:
        for rule in signal.rules(one):
            assert rule.sentence in said(at)


def test_numbers_by_layer_are_in_a_fold_and_written_once_it_opens() -> None:
    at = visit(initializers="glorot_normal")
    assert not at.dataframe
    at.session_state["numbers"] = True
    at.run()
    assert not at.exception
    table = at.dataframe[0].value
    assert table["initializer"].tolist() == ["he_normal"] * 4 + ["glorot_normal"] * 4
    found = signal.measure(Spec(depth=4, width=8, batch_size=8), 2)
    assert table["E z²"].tolist()[:4] == [
        number_of_log10(float(value)) for value in np.median(found.forward_log10, axis=0)
    ]
    labels = [button.proto.label for button in at.get("download_button")]
    assert labels == ["Numbers as CSV", "Numbers as JSON", "Spec as JSON"]


@pytest.mark.parametrize(
    "query",
    [
        {"width": "1"},
        {"depth": "1"},
        {"initializer": "random_normal(stddev=1e-30)", "depth": "40"},
        {"initializer": "random_normal(stddev=1e30)", "depth": "40"},
        {"batch_size": "1"},
        {"normalization": "layer", "residual": "plain"},
        {"dataset": "gaussian"},
    ],
    ids=str,
)
def test_extremes_give_figures(query: dict[str, str]) -> None:
    at = visit(**query)
    assert len(at.get("plotly_chart")) >= 8


def test_copies_of_neurons_are_counted() -> None:
    at = visit(initializer="constant(value=0.1)", initializers="zeros")
    assert said(at).count("**8 neurons, 1 distinct**") == 2


def test_who_has_no_correlation_is_named() -> None:
    for name, end in (("zeros", "ends. Without a correlation: zeros."), ("he_normal", "ends.")):
        at = visit(initializer=name, initializers="orthogonal")
        (caption,) = [caption.value for caption in at.caption if caption.value.startswith("Dead: units")]
        assert caption.endswith(end)


def test_where_theory_has_nothing_to_say_it_says_why() -> None:
    at = visit(initializer="constant(value=0.1)", initializers="")
    assert "theory needs weights of mean 0, not 0.1" in said(at)


def test_a_network_over_the_budget_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINIT_SECONDS", "0.5")
    at = visit(depth="200", width="512", seeds="8")
    assert "Not computed." in said(at)
    at.button(key="way-out-0").click().run()
    assert not at.exception
    assert "Not computed." not in said(at)


def test_numbers_of_the_phase_diagram_set_weights_and_biases() -> None:
    at = visit(activation="tanh")
    at.number_input(key="phase:sigma_w").set_value(2.0).run()
    spec = at.session_state["_network"]
    assert not at.exception
    assert signal.place(spec)[0] == pytest.approx(2.0, rel=1e-5)
    at.number_input(key="phase:sigma_b").set_value(0.3).run()
    assert signal.place(at.session_state["_network"]) == pytest.approx((2.0, 0.3), rel=1e-3)
    assert at.number_input(key="phase:sigma_b").value == pytest.approx(0.3)
