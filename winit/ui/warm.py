"""Imported once, before anything is drawn: heavy imports first, then a frozen garbage collector.

A full garbage collection walks, with torch, plotly and scikit-learn imported, 300,000 objects while holding
the interpreter lock, 60 to 170 ms each time. What is alive now stays alive: frozen, it is never walked again.
"""

from __future__ import annotations

import gc

import plotly.io
import scipy.special
import sklearn.datasets
import torch

from winit import comparison, distributions, neurons, recording, signal, spectrum
from winit.figures import comparison as _comparison
from winit.figures import distributions as _distributions
from winit.figures import home as _home
from winit.figures import signal as _signal
from winit.figures import training as _training
from winit.figures.chart import Chart

_USED = (comparison, distributions, neurons, recording, signal, spectrum, torch)
_USED_LATE = (scipy.special, sklearn.datasets)  # imported where they are used, for the terminal
_DRAWN = (_comparison, _distributions, _home, _signal, _training)

# The first figure of a process loads plotly's templates and classes: 0.3 s that no visitor should wait for.
_chart = Chart()
for _add in (_chart.add_scatter, _chart.add_bar, _chart.add_heatmap, _chart.add_contour):
    _add()
_chart.add_annotation(text="")
plotly.io.to_json(_chart.figure())
gc.collect()
gc.freeze()
