"""Signal: does the signal survive the depth?"""

from winit.lenses import SignalKnobs
from winit.ui import frame, signal

page = frame.open_page("signal", SignalKnobs)
studied = signal.study(page)
if studied:
    signal.show_answer(page, studied)
    signal.show_knobs(page)
    signal.show_moments(page, studied)
    signal.show_rules(studied)
    signal.show_layers(page, studied)
    signal.show_neurons(page, studied)
    signal.show_phase_diagram(page)
    signal.show_spectrum(page)
    signal.show_numbers(page, studied)
