"""The parts of Train: presets, the player that plays a training, and the figures of one step of it."""

from winit.ui.live.moment import show_moment
from winit.ui.live.player import current_recording, show_player
from winit.ui.live.presets import show_row

__all__ = ["current_recording", "show_moment", "show_player", "show_row"]
