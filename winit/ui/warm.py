"""Imported once, before anything is drawn: heavy imports first, then a frozen garbage collector.

Streamlit runs a full garbage collection after every script run. With torch, plotly and scikit-learn
imported that walks 300,000 objects while holding the interpreter lock, 60 to 170 ms each time.
What is alive now stays alive: frozen, it is never walked again.
"""

from __future__ import annotations

import gc

import plotly.graph_objects as go
import plotly.io
import sklearn.datasets
import torch

from winit import comparison, distributions, neurons, recording, signal, spectrum
from winit.figures import comparison as _comparison
from winit.figures import distributions as _distributions
from winit.figures import home as _home
from winit.figures import signal as _signal
from winit.figures import training as _training

_USED = (comparison, distributions, neurons, recording, signal, spectrum, sklearn.datasets, torch)
_DRAWN = (_comparison, _distributions, _home, _signal, _training)

# The first figure of a process loads plotly's templates and validators: 0.3 s that no visitor should wait for.
plotly.io.to_json(go.Figure(go.Scatter(x=[0, 1], y=[0, 1])).add_annotation(text=""))
gc.collect()
gc.freeze()
