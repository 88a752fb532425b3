"""The pretend line: pictures of a believable machined part, for the demo and the tests.

    surface.py   the part as height, reflectance and holes, without light
    shading.py   light and camera: from a surface to a picture
    defects.py   what can go wrong with a surface
    part.py      one part: draw it, and say exactly where its defect is
    line.py      many parts: data sets, an endless line, a line video

Core layer: may import numpy, the standard library and dtgd_edge.{errors,pictures,atomic}; cv2 only inside
functions.
"""

from dtgd_edge.pretend.defects import DEFECTS
from dtgd_edge.pretend.line import line_parts, write_dataset, write_line_video
from dtgd_edge.pretend.part import PretendPart, draw_part

__all__ = ["DEFECTS", "PretendPart", "draw_part", "line_parts", "write_dataset", "write_line_video"]
