"""Distributions: what does this initializer draw?"""

from winit.lenses import DistributionsKnobs
from winit.ui import distributions, frame

page = frame.open_page("distributions", DistributionsKnobs)
drawn = distributions.draw(page)
distributions.show_answer(page, drawn)
distributions.show_knobs(page)
distributions.show_figures(page, drawn)
distributions.show_close_look(page, drawn)
distributions.show_formula_and_code(page, drawn)
distributions.show_translator(page)
distributions.show_gains()
distributions.show_downloads(page, drawn)
