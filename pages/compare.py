"""Compare: which one wins, and is that luck?"""

from winit.lenses import CompareKnobs
from winit.ui import compare, frame

page = frame.open_page("compare", CompareKnobs)
job = compare.current_job(page)
if job is not None:
    compare.show(page, job)
