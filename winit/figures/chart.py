"""A figure under construction, as the plain dicts that Plotly draws.

Plotly's own figure checks and copies every property that is set: 20 ms for an empty figure in our style,
where a page has up to a dozen. Here nothing is checked until a test does it for every figure.

>>> chart = Chart()
>>> chart.update_layout(height=200, margin={"t": 8, "b": 8})
>>> chart.add_scatter(x=[1, 2], y=[3, 4])
>>> chart.update_layout(margin={"b": 30})
>>> chart.layout["margin"]
{'t': 8, 'b': 30}
>>> list(chart.figure().data[0].y)
[3, 4]
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io


class Chart:
    """Traces and a layout, to be filled by the methods of a Plotly figure's names; values merge, deep."""

    def __init__(self) -> None:
        self.data: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = {}

    def _add(self, kind: str, properties: dict[str, Any]) -> None:
        self.data.append({"type": kind, **{name: value for name, value in properties.items() if value is not None}})

    def add_scatter(self, **properties: Any) -> None:
        """Add points or a line."""
        self._add("scatter", properties)

    def add_bar(self, **properties: Any) -> None:
        """Add bars."""
        self._add("bar", properties)

    def add_heatmap(self, **properties: Any) -> None:
        """Add a heat map."""
        self._add("heatmap", properties)

    def add_contour(self, **properties: Any) -> None:
        """Add contours."""
        self._add("contour", properties)

    def add_shape(self, **properties: Any) -> None:
        """Add a shape to the layout."""
        self.layout.setdefault("shapes", []).append(properties)

    def add_annotation(self, **properties: Any) -> None:
        """Add a text to the layout."""
        self.layout.setdefault("annotations", []).append(properties)

    def add_hline(self, y: float, line: Mapping[str, Any]) -> None:
        """Add a horizontal line across the plot."""
        self.add_shape(type="line", x0=0, x1=1, xref="x domain", y0=y, y1=y, yref="y", line=line)

    def add_vline(self, x: float, line: Mapping[str, Any]) -> None:
        """Add a vertical line across the plot."""
        self.add_shape(type="line", x0=x, x1=x, xref="x", y0=0, y1=1, yref="y domain", line=line)

    def update_layout(self, **properties: Any) -> None:
        """Set properties of the layout; of a dict, only what it names."""
        _merge(self.layout, properties)

    def update_xaxes(self, **properties: Any) -> None:
        """Set properties of the horizontal axis."""
        self.update_layout(xaxis=properties)

    def update_yaxes(self, **properties: Any) -> None:
        """Set properties of the vertical axis."""
        self.update_layout(yaxis=properties)

    @property
    def plot_height(self) -> float:
        """Height in pixels between the margins."""
        margin = self.layout["margin"]
        height: float = self.layout["height"] - margin["t"] - margin["b"]
        return height

    def figure(self) -> go.Figure:
        """Return what was built."""
        return _Figure({"data": self.data, "layout": self.layout})


class _Figure(go.Figure):  # type: ignore[misc]  # Plotly has no types
    """A Plotly figure that is quick to make and to write.

    Plotly's own copies everything and makes an object of each trace, and looks at each array in five ways to write it:
    that waits until somebody looks into the figure.
    """

    def __init__(self, said: dict[str, Any]) -> None:
        """Make it of its `data` and `layout`."""
        self.__dict__["_said"] = {part: said[part] for part in ("data", "layout")}

    def __getattr__(self, name: str) -> Any:
        # Plotly's attributes are missing as long as it has made none.
        said = self.__dict__.pop("_said", None)
        if said is None:
            raise AttributeError(name)
        super().__init__(said, _validate=False)
        return getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as plain dicts, arrays of numbers as Plotly's typed arrays, names in one order."""
        said = self.__dict__.get("_said") or {"data": self._data, "layout": self._layout}
        layout = dict(said["layout"])
        template = layout.pop("template", None)
        written: dict[str, Any] = _written({"data": said["data"], "layout": layout})
        written["layout"]["template"] = _template(plotly.io.templates.default) if template is None else template
        return written


@cache
def _template(name: str) -> dict[str, Any]:
    """Return the template that Plotly gives each figure that has none."""
    found: dict[str, Any] = plotly.io.templates[name].to_plotly_json()
    return found


_TYPED = {"float64": "f8", "float32": "f4", "int32": "i4", "int16": "i2", "uint8": "u1", "int8": "i1"}


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _written(value[name]) for name in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_written(each) for each in value]
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.name not in _TYPED or not value.size:
        return value.tolist()
    shape = {"shape": ", ".join(map(str, value.shape))} if value.ndim > 1 else {}
    return {"dtype": _TYPED[value.dtype.name], "bdata": base64.b64encode(value.tobytes()).decode("ascii"), **shape}


def _merge(into: dict[str, Any], properties: Mapping[str, Any]) -> None:
    for name, value in properties.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value
