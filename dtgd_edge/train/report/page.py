"""The page: its template filled with an evaluation's numbers, curves, tables and pictures."""

from collections.abc import Sequence
from importlib.resources import files
from string import Template

from dtgd_edge.geometry import Geometry
from dtgd_edge.heat import heat_range
from dtgd_edge.sheet import head, minute_text, safe, table
from dtgd_edge.train.evaluate import Evaluation, KindMetrics
from dtgd_edge.train.metrics import DETECTIONS, Metrics
from dtgd_edge.train.operating import OperatingPoint
from dtgd_edge.train.report.about import About
from dtgd_edge.train.report.album import Album
from dtgd_edge.train.report.cards import Cards, data_uri
from dtgd_edge.train.report.charts import pro_chart, roc_chart, score_histogram
from dtgd_edge.train.report.texts import number, parts, percent, score

_WEAK_DETECTION = 0.9
_FLAT = 1.7  # pictures wider than this stand above each other in a card
_MEASURES = (
    ("image AUROC", "image_auroc"),
    ("image F1-max", "f1_max"),
    ("pixel AUROC", "pixel_auroc"),
    ("pixel AP", "pixel_ap"),
    ("pixel F1-max", "pixel_f1_max"),
    ("AUPRO, to 30 % false positives", "aupro"),
    ("AUPRO, to 5 %", "aupro_05"),
)


def page_from_evaluation(about: About, evaluation: Evaluation, album: Album) -> str:
    """Build the page.

    Args:
        about: what was evaluated.
        evaluation: what came out, at a threshold.
        album: has the small pictures of all its parts.

    Returns:
        HTML that refers to nothing outside of itself.
    """
    own = evaluation.at_threshold
    assert own is not None, "a report is made of an evaluation at a threshold"
    threshold = own.threshold
    sections = Cards(evaluation.per_part, album, threshold).sections()
    kinds = _kinds_section(evaluation, own)
    links = [
        ("curves", "Curves"),
        ("metrics", "Metrics"),
        *([("kinds", "Kinds of defects")] if kinds else []),
    ]
    links += [(anchor, title) for anchor, title, _ in sections]
    low, high = heat_range(threshold)
    name, data = _last(about.scored), _last(about.data)
    template = Template((files("dtgd_edge.train.report") / "page.html").read_text("utf-8"))
    return template.substitute(
        head=head(f"{name} on {data}: dtgd-edge evaluation"),
        date=safe(minute_text(about.created)),
        name=safe(name),
        data=safe(data),
        lead=_lead(own),
        tiles=_tiles(own, evaluation.native),
        links=" ".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in links),
        about=_about(about, evaluation.native),
        curves_note=_curves_note(own),
        charts=_charts(evaluation, own),
        tables=_measures_table(evaluation) + _points_table(own, evaluation.at_detection),
        kinds=kinds,
        scale=data_uri(album.colour_scale(), "png"),
        scale_low=score(low),
        scale_middle=score(threshold),
        scale_high=f"over {score(high)}",
        aspect=f"{album.aspect():.3f}",
        shape="flat" if album.aspect() > _FLAT else "",
        sections="\n".join(
            f'<section id="{anchor}">\n<h2>{title}</h2>\n{html}\n</section>'
            for anchor, title, html in sections
        ),
        footer=safe(f"dtgd-edge {about.versions.get('dtgd-edge', '')}, {minute_text(about.created)}"),
    )


def _lead(own: OperatingPoint) -> str:
    defective, good = own.detected + own.missed, own.false_alarms + own.passed
    said = []
    if defective:
        style = "missed" if own.missed else "right"
        missed = f", {own.missed} missed" if own.missed else ""
        said.append(
            f'<b class="{style}">{own.detected} of {parts(defective, "defective")}</b> detected{missed}'
        )
    if good:
        style = "alarm" if own.false_alarms else "right"
        said.append(f'<b class="{style}">{own.false_alarms} of {parts(good, "good")}</b> rejected')
    return f"At the threshold {score(own.threshold)}: {'; '.join(said)}."


def _tiles(own: OperatingPoint, metrics: Metrics) -> str:
    defective, good = own.detected + own.missed, own.false_alarms + own.passed
    tiles = (
        (
            "missed" if own.missed else "right" if defective else "",
            "Defects detected",
            percent(own.detection),
            f"{own.detected} of {defective}",
        ),
        (
            "alarm" if own.false_alarms else "right" if good else "",
            "Good parts rejected",
            percent(own.false_reject),
            f"{own.false_alarms} of {good}",
        ),
        ("", "Image AUROC", number(metrics.image_auroc), "parts told apart"),
        ("", "AUPRO", number(metrics.aupro), "defects covered"),
        ("", "Pixel AP", number(metrics.pixel_ap), "precision of the map"),
        ("", "F1-max", number(metrics.f1_max), "at the best threshold"),
    )
    return "\n".join(
        f'<div class="tile sheet {style}"><dt>{name}</dt><dd>{value}</dd><dd>{note}</dd></div>'
        for style, name, value, note in tiles
    )


def _about(about: About, metrics: Metrics) -> str:
    threshold = about.threshold
    bare = f", {metrics.without_mask} of them without a mask" if metrics.without_mask else ""
    rows = {
        about.kind.capitalize(): f"{about.scored} ({about.precision})",
        "Pictures": f"{about.data}: {metrics.pictures - metrics.defective} good, "
        f"{metrics.defective} defective{bare}",
        "Threshold": f"{score(threshold.value)}: {threshold.rule}; from {parts(threshold.normals)}",
        "Geometry": _geometry(about.geometry),
        "Scored by": about.session,
        "Trained": about.trained,
        "SHA-256": about.sha256,
        "Versions": ", ".join(f"{name} {version}" for name, version in about.versions.items()),
        "Machine": about.machine,
        "Date": minute_text(about.created),
    }
    return "\n".join(f"<div><dt>{safe(key)}</dt><dd>{safe(text)}</dd></div>" for key, text in rows.items())


def _geometry(geometry: Geometry) -> str:
    height, width = geometry.size_hw
    region = "the whole frame"
    if geometry.region_xywh is not None:
        x, y, w, h = geometry.region_xywh
        region = f"the region of {w}x{h} px at ({x}, {y})"
    how = "stretched" if geometry.fit == "stretch" else "letterboxed"
    return f"{region}, {how} to {width}x{height} px"


def _curves_note(own: OperatingPoint) -> str:
    good, defective = own.false_alarms + own.passed, own.detected + own.missed
    note = "Every threshold at once; the red mark is the one in use."
    if 0 < good < 100 or 0 < defective < 100:
        # The first thing to know about a share is of how many.
        note += (
            f" With {parts(good, 'good')} and {defective} defective, one part more or less moves every curve."
        )
    return note


def _charts(evaluation: Evaluation, own: OperatingPoint) -> str:
    native = evaluation.native
    key = (
        '<span class="key good"></span> good parts up, '
        '<span class="key defective"></span> defective ones down'
    )
    charts = (
        ("Scores", key, score_histogram(evaluation.per_part, own.threshold)),
        (
            "ROC curve of the parts",
            f"AUROC {number(native.image_auroc)}",
            roc_chart(evaluation.per_part, own),
        ),
        (
            "PRO curve of the pixels",
            f"AUPRO {number(native.aupro)}; {number(native.aupro_05)} up to the dashed 5&#8239;%",
            pro_chart(evaluation.pro),
        ),
    )
    return "\n".join(
        f'<figure class="chart sheet"><figcaption><b>{title}</b><span>{note}</span></figcaption>'
        f"{svg}</figure>"
        for title, note, svg in charts
        if svg is not None
    )


def _measures_table(evaluation: Evaluation) -> str:
    native, graph = evaluation.native.record(), evaluation.graph.record()
    height, width = evaluation.graph_size_hw
    rows = [[name, number(native[key], 4), number(graph[key], 4)] for name, key in _MEASURES]
    return table("Measures", ["", "pictures' own resolution", f"{width}x{height}"], rows)


def _points_table(own: OperatingPoint, at_detection: Sequence[OperatingPoint]) -> str:
    points = [("the threshold in use", own)]
    points += [(f"detects {share:.0%}", p) for share, p in zip(DETECTIONS, at_detection, strict=False)]
    rows = [
        [
            name,
            score(p.threshold),
            f"{p.detected} of {p.detected + p.missed}",
            f"{p.false_alarms} of {p.false_alarms + p.passed}",
            percent(p.false_reject),
        ]
        for name, p in points
    ]
    return table("Thresholds", ["", "threshold", "detected", "good rejected", "share"], rows, {0})


def _kinds_section(evaluation: Evaluation, own: OperatingPoint) -> str:
    if not evaluation.kinds:
        return ""
    columns = [
        "",
        "parts",
        "detected",
        "image AUROC",
        "rejected at 100 %",
        "pixel AP",
        "AUPRO",
        "AUPRO to 5 %",
    ]
    kinds = sorted(evaluation.kinds, key=lambda kind: (_detection(kind), kind.kind))
    rows = [_kind_row(kind.kind, kind.detected, kind.native) for kind in kinds]
    if len(kinds) > 1:
        rows.append(_kind_row("all kinds", own.detected, evaluation.native))
    return (
        '<section id="kinds">\n<h2>Kinds of defects</h2>\n'
        '<p class="note">Each kind against all good parts, the least detected first. '
        "&ldquo;Rejected at 100&#8239;%&rdquo;: good parts lost if every part of the kind had to be "
        "detected.</p>\n" + table(None, columns, rows, {len(kinds)}) + "</section>"
    )


def _detection(kind: KindMetrics) -> float:
    return (kind.detected or 0) / kind.native.defective


def _kind_row(name: str, detected: int | None, metrics: Metrics) -> list[str]:
    share = (detected or 0) / metrics.defective
    weak = " weak" if share < _WEAK_DETECTION else ""
    bar = f'<span class="share{weak}"><i style="width:{100 * share:.0f}%"></i></span>'
    return [
        safe(name),
        str(metrics.defective),
        f"{detected} ({percent(share)}){bar}",
        number(metrics.image_auroc),
        percent(metrics.false_reject_100),
        number(metrics.pixel_ap),
        number(metrics.aupro),
        number(metrics.aupro_05),
    ]


def _last(path: str) -> str:
    """The last part of a path as it was given; the path itself where it has none, such as `.`."""
    return path.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or path
