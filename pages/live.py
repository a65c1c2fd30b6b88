"""Train: does it learn?"""

from winit.lenses import TrainKnobs
from winit.ui import frame, live

page = frame.open_page("live", TrainKnobs)
live.show_row(page)
session = live.current_recording(page)
if session is not None:
    live.show_player(page, session)
    live.show_moment(page, session)
