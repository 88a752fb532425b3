"use strict";

// Draws scores against the threshold; colours come from the style sheet, shapes tell decisions apart too.
class Trend {
  constructor(canvas) {
    this.canvas = canvas;
    this.points = []; // [sequence, score or null, threshold, decision], oldest first
    this.length = 300;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get newest() {
    return this.points.length ? this.points[this.points.length - 1][0] : -1;
  }

  add(points, length) {
    this.length = length;
    this.points = this.points.concat(points).slice(-length);
    if (points.length) this.draw();
  }

  clear() {
    this.points = [];
    this.draw();
  }

  // How many of the points would be NG at a threshold, and how many have a score.
  wouldBe(threshold) {
    const scored = this.points.filter((point) => point[1] !== null);
    return [scored.filter((point) => point[1] > threshold).length, scored.length];
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width || !height) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    if (!this.points.length) return;
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const threshold = this.points[this.points.length - 1][2];
    const [low, high] = this.range(threshold);
    const left = 8, right = width - 58, top = 10, bottom = height - 10;
    const x = (index) => right - ((this.points.length - 1 - index) * (right - left)) / Math.max(1, this.length - 1);
    const y = (score) => bottom - ((Math.min(high, Math.max(low, score)) - low) / (high - low)) * (bottom - top);

    pen.fillStyle = colour("--ng-wash");
    pen.fillRect(left, top - 6, right - left + 6, y(threshold) - top + 6);
    this.drawThreshold(pen, x, y, colour("--ng"));
    pen.font = "600 13px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.fillStyle = colour("--ng-ink");
    pen.fillText(readable(threshold), right + 12, y(threshold));
    this.points.forEach((point, index) => this.drawPoint(pen, point, x(index), y, bottom, colour));
  }

  // Always with the threshold in sight, and not stretched by one wild score.
  range(threshold) {
    const scores = this.points.map((point) => point[1]).filter((score) => score !== null).sort((a, b) => a - b);
    const span = Math.max(Math.abs(threshold), 1e-6);
    if (!scores.length) return [threshold - span, threshold + span];
    const smallest = Math.min(scores[0], threshold - 0.2 * span);
    const usual = scores[Math.floor(0.9 * (scores.length - 1))];
    const largest = Math.max(Math.min(scores[scores.length - 1], 2 * Math.max(usual, threshold)), threshold + 0.35 * span);
    const margin = 0.04 * (largest - smallest);
    return [smallest - margin, largest + margin];
  }

  drawThreshold(pen, x, y, colour) {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.setLineDash([7, 4]);
    pen.beginPath();
    this.points.forEach((point, index) => {
      const before = index ? this.points[index - 1][2] : point[2];
      if (!index) pen.moveTo(8, y(point[2]));
      if (before !== point[2]) pen.lineTo(x(index), y(before));
      pen.lineTo(x(index), y(point[2]));
    });
    pen.lineTo(x(this.points.length - 1) + 6, y(this.points[this.points.length - 1][2]));
    pen.stroke();
    pen.setLineDash([]);
  }

  drawPoint(pen, [, score, , decision], x, y, bottom, colour) {
    if (score === null) {
      pen.strokeStyle = colour("--nd");
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(x, bottom + 6);
      pen.lineTo(x, bottom - 4);
      pen.stroke();
      return;
    }
    const at = y(score);
    if (decision === "NG") {
      pen.strokeStyle = colour("--ng");
      pen.lineWidth = 2.2;
      pen.beginPath();
      pen.moveTo(x - 4, at - 4);
      pen.lineTo(x + 4, at + 4);
      pen.moveTo(x + 4, at - 4);
      pen.lineTo(x - 4, at + 4);
      pen.stroke();
      return;
    }
    pen.fillStyle = colour(decision === "OK" ? "--ok" : "--nd");
    pen.beginPath();
    pen.arc(x, at, 2.4, 0, 2 * Math.PI);
    pen.fill();
  }
}

function readable(value) {
  if (value === null || value === undefined) return "-";
  return Math.abs(value) >= 100 ? value.toFixed(1) : Math.abs(value) >= 1 ? value.toFixed(2) : value.toFixed(3);
}
