"""Whether a JPEG arrived whole: decoders fill in what is missing and say nothing."""

import re

# In the compressed data every byte 0xFF is followed by 0 or is a restart marker; other markers end the data.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_RESTARTS = range(0xD0, 0xD8)
# What may stand between two scans of a progressive picture: tables, comments, application data.
_SEGMENTS = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})


def jpeg_fault(content: bytes) -> str | None:
    """Say what is wrong with a JPEG; None: its structure is whole.

    Compressed data that was changed without breaking the structure cannot be told from a picture.

    Args:
        content: all bytes of the file; some after its end are ignored.
    """
    if content[:2] != b"\xff\xd8":
        return "it does not begin like a JPEG"
    place, has_scan, restarts = 2, False, 0
    while True:
        found = _MARKER.search(content, place)
        if found is None:
            return f"it ends after {len(content)} bytes without its end marker"
        marker = found[0][1]
        if not has_scan and found.start() != place:
            return f"there is no marker at byte {place}"
        place = found.end()
        if has_scan and marker in _RESTARTS:
            if marker - _RESTARTS.start != restarts % 8:
                return f"restart {restarts} is missing before byte {place}"
            restarts += 1
        elif marker == _END:
            return None if has_scan else "it has no picture data"
        elif has_scan and marker not in _SEGMENTS:
            return f"its data is broken at byte {place}"
        else:
            length = int.from_bytes(content[place : place + 2], "big")
            if length < 2 or place + length > len(content):
                return f"it ends inside of a segment at byte {place}"
            place += length
            if marker == _SCAN:
                has_scan, restarts = True, 0
