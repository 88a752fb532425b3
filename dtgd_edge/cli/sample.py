"""`dtgd-edge sample`: pictures and a line video of the pretend part."""

from pathlib import Path
from typing import Annotated

import typer

from dtgd_edge.cli.console import OUT, Json, print_json


def sample(
    folder: Annotated[Path, typer.Argument(help="A new folder for the pictures.")],
    parts: Annotated[int, typer.Option(help="Good parts to train on.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 320,
    as_json: Json = False,
) -> None:
    """Write pictures of a pretend part (MVTec AD layout) and a video of parts on a line."""
    from dtgd_edge.pretend import write_dataset, write_line_video

    counts = write_dataset(folder, parts=parts, seed=seed, size=size)
    video = write_line_video(folder / "line.avi", parts=parts, seed=seed + 1, size=size)
    if as_json:
        print_json({"folder": str(folder), "pictures": counts, "video": str(video)})
        return
    for name, count in counts.items():
        OUT.print(f"{count:5d}  {folder / name}")
    OUT.print(f"       {video} (what each frame shows: {video.stem}.truth.json)")
