"""The parts of Train: a run that plays, pauses, steps and starts again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from winit import budget
from winit.datasets import DATASETS, View
from winit.fields import BadInput
from winit.figures import training as figures
from winit.figures.palette import TOKENS, styles
from winit.lenses import TrainKnobs
from winit.queueing import turn
from winit.spec import Spec
from winit.training import Training, train
from winit.ui import address, answers, frame, knobs

_SLICE = 0.15  # seconds of training between two pictures
_TICK = 0.3  # seconds from one picture to the next
_MOST_RECORDED = 300


@dataclass
class Run:
    """A training of this visitor, and whether it plays."""

    spec: Spec
    seeds: int
    training: Training
    playing: bool = False


def _start(spec: Spec, seeds: int) -> Run:
    training = train(spec, seeds, every=max(1, spec.steps // _MOST_RECORDED))
    with turn():
        next(training)
    return Run(spec, seeds, training)


def current_run(page: frame.Page[TrainKnobs]) -> Run | None:
    """Return this visitor's run of the network in view, new where the network changed; None where refused."""
    held: Run | None = st.session_state.get("_run")
    if held is not None and (held.spec, held.seeds) == (page.spec, page.knobs.seeds):
        return held
    try:
        page.spec.require_training()
    except BadInput as problem:
        page.refuse_start(problem)
        return None
    if not page.can_start():
        return None
    try:
        lower = "fewer layers, units, steps or seeds"
        budget.Limit.of_host().require(budget.training_price(page.spec, page.knobs.seeds), lower)
    except BadInput as problem:
        page.refuse(problem, [("Use 10 layers of 64 units, 300 steps", {"depth": 10, "width": 64, "steps": 300})])
        return None
    run = st.session_state["_run"] = _start(page.spec, page.knobs.seeds)
    return run


def _pause(run: Run) -> None:
    run.playing = False


def _step(run: Run) -> None:
    run.playing = False
    with turn():
        next(run.training, None)


def _again(run: Run) -> None:
    st.session_state["_run"] = _start(run.spec, run.seeds)


def show_controls(page: frame.Page[TrainKnobs], run: Run) -> None:
    """Draw play, pause, step and reset, and the number of seeds."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="knobs"):
        if run.playing:
            frame.button("Pause", key="pause", icon=":material/pause:", on_click=lambda: _pause(run), type="primary")
        else:
            frame.button("Play", key="play", icon=":material/play_arrow:", on_click=_play, type="primary")
        done = run.training.is_finished
        frame.button("Step", key="step", icon=":material/skip_next:", on_click=lambda: _step(run), disabled=done)
        frame.button("Reset", key="again", icon=":material/replay:", on_click=lambda: _again(run))
        knobs.own(page.lens, "seeds", width=220)


def _play() -> None:
    run: Run = st.session_state["_run"]
    if run.training.is_finished:
        _again(run)
        run = st.session_state["_run"]
    run.playing = True


def show_answer(page: frame.Page[TrainKnobs], run: Run) -> None:
    """Say how far the run is, kept up to date while it plays."""

    def say() -> None:
        training = run.training
        text = answers.training(training.snapshots, run.spec.initializer, training.data, run.spec.steps)
        page.answer(text)

    st.fragment(say, run_every=_TICK if run.playing else None)()


def show_run(page: frame.Page[TrainKnobs], run: Run) -> None:
    """Show the run, and while it plays train a slice and draw again, a few times a second."""
    st.fragment(_show, run_every=_TICK if run.playing else None)(page, run)


def _show(page: frame.Page[TrainKnobs], run: Run) -> None:
    if run.playing:
        with turn():
            run.training.advance(_SLICE)
    training, snapshots = run.training, run.training.snapshots
    look = styles([run.spec.initializer], TOKENS)[run.spec.initializer]
    data = training.data
    wide, narrow = st.columns((3, 2))
    with wide:
        left, right = st.columns(2)
        with left:
            chart = figures.loss_curves(snapshots, look, data.constant_loss, run.spec.steps, TOKENS, meta=page.meta)
            page.figure(chart, f"Training loss to step {training.step}", "loss")
        with right:
            chart = figures.score_curves(
                snapshots, look, data.chance, run.spec.steps, TOKENS, data.measure, meta=page.meta
            )
            page.figure(chart, f"Test {data.score_label} to step {training.step}", "score")
        chart = figures.layers(training.measure_layers(), look, TOKENS, meta=page.meta)
        page.figure(chart, "Standard deviation of activations and gradients by hidden layer", "layers")
    view = DATASETS[run.spec.dataset].view
    with narrow:
        shown = _VIEWS[view](page, run) if view else ""
    runs = "1 run, seed" if run.seeds == 1 else f"{run.seeds} runs, seeds"
    st.caption(
        f"Step {training.step} of {run.spec.steps}. {runs} {run.spec.seed}{' and on' if run.seeds > 1 else ''}; the "
        f"first is drawn heavier, and its layers are shown. {shown} Loss on "
        f"{data.evaluation_samples} training samples; layers: activations, and gradients of a "
        "sample's loss by the pre-activations, on 64 training samples."
    )
    if run.playing and training.is_finished:
        run.playing = False
        address.rerun()


def _show_regions(page: frame.Page[TrainKnobs], run: Run) -> str:
    training, data = run.training, run.training.data
    _, _, grid = figures.surface_grid(data)
    chart = figures.surface(data, training.probabilities(grid)[0], TOKENS, meta=page.meta)
    page.figure(chart, "Decision surface of the first run with the test points", "surface")
    return "Decisions are the first run's."


def _show_board(page: frame.Page[TrainKnobs], run: Run) -> str:
    training, data = run.training, run.training.data
    probabilities = training.probabilities(data.test_x[: figures.BOARD_SAMPLES])[0]
    right = int((np.nan_to_num(probabilities).argmax(axis=1) == data.test_y[: figures.BOARD_SAMPLES]).sum())
    chart = figures.board(data, probabilities, TOKENS, meta=page.meta)
    page.figure(chart, f"{figures.BOARD_SAMPLES} test digits, {right} read correctly", "board")
    return "Digits are read by the first run."


def _show_confusion(page: frame.Page[TrainKnobs], run: Run) -> str:
    training, data = run.training, run.training.data
    found = figures.majority(training.probabilities(data.test_x))
    right = int((found == data.test_y).sum())
    names = DATASETS[run.spec.dataset].class_names
    chart = figures.confusion(data, found, TOKENS, names=names, meta=page.meta)
    page.figure(chart, f"True against predicted classes, {right} of {len(found)} right", "confusion")
    return f"Classes are those that most runs choose: {right} of {len(found)} test samples right."


def _show_curves(page: frame.Page[TrainKnobs], run: Run) -> str:
    data = run.training.data
    look = styles([run.spec.initializer], TOKENS)[run.spec.initializer]
    outputs = run.training.predictions(figures.curve_points(data))
    chart = figures.fitted_curves(data, outputs, look, TOKENS, meta=page.meta)
    page.figure(chart, "Curve of each run and their median with the data points", "fit")
    return "Fitted curves: each run thin, the median thick; training points grey, test points dark."


def _show_heat_map(page: frame.Page[TrainKnobs], run: Run) -> str:
    data = run.training.data
    _, _, grid = figures.surface_grid(data)
    chart = figures.heat_map(data, run.training.predictions(grid), TOKENS, meta=page.meta)
    page.figure(chart, "Mean prediction over the plane with the test points", "heat-map")
    return "Map: mean of the runs; where it is right, a test point has the colour around it."


def _show_scatter(page: frame.Page[TrainKnobs], run: Run) -> str:
    data = run.training.data
    look = styles([run.spec.initializer], TOKENS)[run.spec.initializer]
    chart = figures.predicted_against_true(data, run.training.predictions(data.test_x), look, TOKENS, meta=page.meta)
    page.figure(chart, f"Predicted against true target of {len(data.test_x)} test samples", "scatter")
    return "Predictions on the test part: mean of the runs, with their range."


_VIEWS: Mapping[View, Callable[[frame.Page[TrainKnobs], Run], str]] = {
    "regions": _show_regions,
    "board": _show_board,
    "confusion": _show_confusion,
    "curves": _show_curves,
    "heat_map": _show_heat_map,
    "scatter": _show_scatter,
}
"""How each view is drawn; it returns the sentence that explains it in the caption."""
