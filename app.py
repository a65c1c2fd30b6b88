"""Home: which weight initialization works, and why?"""

from winit.lenses import NoKnobs
from winit.ui import frame, home

page = frame.open_page("", NoKnobs)
home.show_signal(page)
home.show_lenses(page)
