"""Compare's page, run by Streamlit's own test harness: running, cancelled, from the store, refused, downloads."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_pages import TINY, address, button, caption, charts, finish, move, plain, problems, refusals, stands
from tests.test_pages import visit as _visit
from winit import budget
from winit.lenses import CompareKnobs
from winit.spec import Spec
from winit.store import Store
from winit.sweep import Sweep
from winit.ui import cached, compare

# Long enough that no slice finishes it, cheap enough to start by itself.
LONG = {"depth": "2", "width": "8", "steps": "20000", "seeds": "2", "initializers": "orthogonal"}


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin each test with an empty store and nothing in memory, on a host that sets no limits of its own."""
    for name in ("WINIT_SECONDS", "WINIT_MEGABYTES", "WINIT_STORE_MEGABYTES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WINIT_STORE", str(tmp_path / "runs.sqlite"))
    monkeypatch.setattr(cached, "COMPARISONS", cached.Kept(32))


def visit(query: dict[str, Any]) -> Any:
    return _visit("compare", query)


def keys(at: Any) -> list[str]:
    """Return which of the page's own buttons are there."""
    return [found.key for found in at.button if found.key in ("cancel", "run", "resume")]


def test_it_finishes_with_figures_and_a_table() -> None:
    at = finish(visit(TINY))
    stands(at, "compare")
    table = at.dataframe[0].value
    assert set(table["initializer"]) == {"he_normal", *CompareKnobs().initializers}
    assert {"status", "test accuracy", "interquartile mean", "final loss", "steps to target"} <= set(table.columns)
    assert address(at) == {"v": "1", **TINY}
    assert keys(at) == []
    assert len(charts(at)) == 4  # curves, ranking, pairs, statuses
    assert [found.proto.label for found in at.get("download_button")] == ["Every run as CSV", "Every run as JSON"]
    assert "No interval below 5 seeds" in caption(at, "initializers ×")


def test_learning_rates_have_a_figure_and_their_choice_is_explained() -> None:
    query = {**TINY, "dataset": "moons", "learning_rates": "0.1;0.01", "initializers": "orthogonal"}
    at = finish(visit(query))
    stands(at, "compare")
    assert len(at.dataframe[0].value) == 2
    assert len(charts(at)) == 5
    assert "chosen on one half of the seeds, scored on the other" in caption(at, "initializers ×")
    assert "Ringed" in caption(at, "most runs diverged")


def test_an_initializer_may_be_typed_and_its_name_is_not_cut() -> None:
    at = visit({**TINY, "initializers": "random_normal(stddev=0.3);zeros"})
    widget = at.multiselect(key="compare:initializers")
    assert {"random_normal(stddev=0.3)", "random_normal(stddev=0.01)", "he_normal"} <= set(widget.options)
    assert widget.value == ["random_normal(stddev=0.3)", "zeros"]
    assert widget.proto.wrap  # tags on one line are scrolled, and cut where two look alike
    widget.set_value(["random_normal(stddev=1)", "random_normal(stddev=0.7)"]).run()
    stands(at, "compare")
    assert not problems(at)
    assert address(at)["initializers"] == "random_normal(stddev=1);random_normal(stddev=0.7)"


def test_a_logarithmic_grid_is_chosen_by_range_and_count() -> None:
    at = visit(TINY)
    at.multiselect(key="compare:learning_rates").set_value(["0.001..1:7"]).run()
    stands(at, "compare")
    assert not problems(at)
    assert address(at)["learning_rates"] == "0.001;0.00316;0.01;0.0316;0.1;0.316;1"


@pytest.mark.parametrize(("name", "kind"), [("curve", "button_group"), ("runs", "button_group")])
def test_what_is_drawn_changes_without_training(name: str, kind: str) -> None:
    at = finish(visit(TINY))
    before, job = charts(at)[0], at.session_state["_job"]
    value = {"curve": "test_accuracy", "runs": "each"}[name]
    move(at, kind, f"compare:{name}", value)
    stands(at, "compare")
    assert at.session_state["_job"] is job
    assert address(at)[name] == value
    assert charts(at)[0] != before


def test_the_choice_of_curves_travels_in_the_address() -> None:
    at = finish(visit(TINY))
    move(at, "button_group", "compare:only", ["1", "3"])
    stands(at, "compare")
    assert address(at)["only"] == "1;3"
    said = charts(at)[0]
    assert "he_normal" in said
    assert "orthogonal" in said
    assert "glorot_normal" not in said
    other = finish(visit({**TINY, "only": "1;3"}))
    assert charts(other)[0] == said
    beyond = finish(visit({**TINY, "only": "1;41"}))  # of an initializer that is no longer there
    stands(beyond, "compare")


def test_cancel_keeps_what_is_there_and_can_be_gone_on_with() -> None:
    at = visit(LONG)
    stands(at, "compare")
    assert keys(at) == ["cancel"]
    at.button(key="cancel").click().run()
    at.run()
    stands(at, "compare")
    assert len(at.dataframe) == 1
    assert re.search(r"Cancelled at step \d+ of 20000", plain(at.markdown[0].value))
    assert address(at) == {"v": "1", **LONG}
    assert keys(at) == ["resume"]
    before = at.session_state["_job"].sweep.progress.share
    at.button(key="resume").click().run()
    stands(at, "compare")
    assert keys(at) == ["cancel"]
    assert at.session_state["_job"].sweep.progress.share > before


def test_only_the_sweeps_trained_last_stay_in_memory_and_the_others_can_be_gone_on_with() -> None:
    visits = []
    for seed in ("0", "10", "20"):
        at = visit({**LONG, "seed": seed})
        at.button(key="cancel").click().run()
        visits.append(at)
    sweeps = [at.session_state["_job"].sweep for at in visits]
    assert [sweep.is_in_memory for sweep in sweeps] == [False, True, True]
    visits[0].run()
    visits[0].button(key="resume").click().run()
    stands(visits[0], "compare")
    assert [sweep.is_in_memory for sweep in sweeps] == [True, False, True]
    assert sweeps[0].progress.share > 0


def test_a_dear_comparison_waits_for_the_press() -> None:
    query = {"steps": "2000", "width": "64", "seeds": "5"}
    price = budget.comparison_price(Spec(steps=2000), CompareKnobs())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "_AT_ONCE", price.seconds / 10)
        at = visit(query)
        stands(at, "compare")
        assert keys(at) == ["run"]
        assert len(charts(at)) == 1  # empty axes
        at.button(key="run").click().run()
    stands(at, "compare")
    assert keys(at) == ["cancel"]
    assert len(charts(at)) == 1  # the first curve comes with the press


def test_a_finished_sweep_opens_from_the_store_whatever_it_costs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec, knobs = Spec(depth=1, width=4, steps=5), CompareKnobs(seeds=2)
    for _ in Sweep(spec, knobs, store=Store(tmp_path / "runs.sqlite")):
        pass
    monkeypatch.setenv("WINIT_SECONDS", "0.0001")
    at = visit(TINY)
    stands(at, "compare")
    assert not refusals(at)
    assert len(at.dataframe) == 1
    assert "from the store: 10 of 10 runs" in caption(at, "initializers ×")
    assert len(refusals(visit({**TINY, "steps": "6"}))) == 1


def test_a_problem_of_the_store_is_said_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    path.write_bytes(b"not a database" * 100)
    monkeypatch.setenv("WINIT_STORE", str(path))
    at = finish(visit(TINY))
    stands(at, "compare")
    said = [found.value for found in at.caption if "results store" in found.value]
    assert len(said) == 1
    assert "damaged" in said[0]
    assert len(at.dataframe) == 1


def test_a_grid_over_the_budget_is_refused_with_price_and_command() -> None:
    query = {"seeds": "50", "learning_rates": "0.1;0.2", "steps": "100000"}
    at = visit(query)
    stands(at, "compare")
    (refusal,) = refusals(at)
    assert re.search(r"500 runs, \S+ multiply-adds, \d+ (s|min|h), [\d,]+ MB", refusal)
    assert "fewer initializers, seeds, learning rates" in refusal
    spec, knobs = Spec(steps=100_000), CompareKnobs(seeds=50, learning_rates=(0.1, 0.2))
    assert at.code[0].value == budget.terminal_command(spec, knobs)
    assert address(at) == {"v": "1", **query}
    assert not charts(at)
    assert len([found for found in at.button if str(found.key).startswith("way-out")]) >= 1
    at.button(key="way-out-0").click().run()
    stands(at, "compare")
    assert not refusals(at)


def test_several_rates_on_one_seed_are_refused_with_ways_out() -> None:
    query = {**TINY, "seeds": "1", "learning_rates": "0.1;0.2", "initializers": "zeros"}
    at = visit(query)
    stands(at, "compare")
    assert "at least 2 to choose among learning rates" in refusals(at)[0]
    button(at, "own rate").click().run()
    stands(at, "compare")
    assert not refusals(at)
    assert address(at) == {"v": "1", **{name: text for name, text in query.items() if name != "learning_rates"}}


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("seeds", "0", "a whole number from 1 to 50"),
        ("initializers", "zeros;zeros", "different values"),
        ("initializers", ";".join(["zeros"] * 5000), "characters"),
        ("learning_rates", "0..1:5", "above 0"),
        ("learning_rates", "-1", "above 0"),
        ("learning_rates", ";".join(str(number) for number in range(1, 100)), "characters"),
        ("only", "0", "from 1 to 41"),
    ],
)
def test_bad_input_gets_a_message_and_nothing_is_lost(name: str, text: str, allowed: str) -> None:
    at = finish(visit({**TINY, name: text}))
    stands(at, "compare")
    assert any(allowed in plain(problem) for problem in problems(at))
    assert len(at.dataframe) == 1


def test_a_single_seed_decides_nothing() -> None:
    at = finish(visit({**TINY, "seeds": "1"}))
    stands(at, "compare")
    assert set(at.dataframe[0].value["95 % interval"]) == {"needs 5 seeds"}


def test_every_run_is_in_the_files() -> None:
    at = finish(visit({**TINY, "initializers": "random_normal(stddev=1e19)"}))
    job = at.session_state["_job"]
    history = job.found.history
    rows = list(csv.DictReader(io.StringIO(compare.as_csv(job.found))))
    assert len(rows) == len(history.members) * len(history.steps)
    for number, row in enumerate(rows):
        run, column = divmod(number, len(history.steps))
        member = history.members[run]
        assert (row["initializer"], int(row["seed"]), row["status"]) == (
            member.initializer,
            member.seed,
            history.statuses[run],
        )
        assert float(row["loss"]) == pytest.approx(history.loss[run, column], nan_ok=True)
    found = json.loads(compare.as_json(*job.key, job.found))
    assert found["steps"] == list(history.steps)
    assert found["spec"]["seeds"] == "2"
    assert [run["status"] for run in found["members"]] == list(history.statuses)
    diverged = next(run for run in found["members"] if run["status"] == "diverged")
    assert None in diverged["loss"]
