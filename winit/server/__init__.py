"""What a public host adds to the app: a guard, metrics, readiness. Start it with `python -m winit.server`."""
