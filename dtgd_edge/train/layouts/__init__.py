"""Find the good and the defective pictures of a folder, whatever its layout.

`recognise` knows the layouts and chooses one; `split`, `visa`, `kolektor` and `plain` each read a family
of them. To add a layout: a function from a folder to `Found`, and an entry in `recognise.LAYOUTS`.
"""

from dtgd_edge.train.layouts.part import GOOD, Found, Part, some
from dtgd_edge.train.layouts.recognise import LAYOUTS, Layout, parts_in

__all__ = ["GOOD", "LAYOUTS", "Found", "Layout", "Part", "parts_in", "some"]
