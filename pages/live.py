"""Train: does it learn?"""

from winit.lenses import TrainKnobs
from winit.ui import frame, live

page = frame.open_page("live", TrainKnobs)
run = live.current_run(page)
if run is not None:
    live.show_answer(page, run)
    live.show_controls(page, run)
    live.show_run(page, run)
