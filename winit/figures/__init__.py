"""Figures: pure functions from a result to a plotly figure, in one palette and one style."""
