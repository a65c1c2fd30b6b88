"""winit: which weight initialization works for your network, and why."""

__version__ = "0.1.0"
