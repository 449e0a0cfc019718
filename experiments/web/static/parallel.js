"use strict";
// Parallel coordinates on a canvas: a line for each member of the front, an axis for each metric. What is drawn
// here stands in the table, too; limits can be typed into the form instead of dragged.

class Parallel {
  // limits: metric to [low, high] in its own unit; onBrush(metric, low, high) is told of a drag, nulls take it back.
  constructor(canvas, onBrush) {
    this.canvas = canvas;
    this.onBrush = onBrush;
    this.names = [];
    this.drag = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.end(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; }); // the browser scrolls instead
    canvas.addEventListener("dblclick", () => this.onBrush(null, null, null));
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  show(members, scales, names, kept, limits) {
    Object.assign(this, { members, scales, names, kept, limits });
    this.ends = Object.fromEntries(names.map((name) => {
      const values = members.map((one) => one.predicted[name]).filter((value) => value !== undefined);
      const low = values.reduce((a, b) => Math.min(a, b), Infinity);
      const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
      return [name, high > low ? [low, high] : [low - 1, high + 1]];
    }));
    this.draw();
  }

  place() {
    const box = this.canvas.parentElement.clientWidth - 2;
    this.width = Math.max(box, 118 * this.names.length);
    this.height = 280;
    this.top = 52;
    this.bottom = this.height - 30;
    this.step = this.names.length > 1 ? (this.width - 130) / (this.names.length - 1) : 0;
  }

  x(index) { return 65 + index * this.step; }

  y(name, value) {
    const [low, high] = this.ends[name];
    return this.bottom - ((value - low) / (high - low)) * (this.bottom - this.top);
  }

  value(name, y) {
    const [low, high] = this.ends[name];
    return low + ((this.bottom - y) / (this.bottom - this.top)) * (high - low);
  }

  draw() {
    if (!this.names.length) return;
    this.place();
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    this.lines(pen, (one) => !this.kept.has(one.id), colour("line"), 0.6);
    this.lines(pen, (one) => this.kept.has(one.id), colour("predicted"), this.members.length > 300 ? 0.25 : 0.6);
    this.names.forEach((name, index) => this.axis(pen, name, index));
  }

  lines(pen, belongs, ink, opacity) {
    pen.strokeStyle = ink;
    pen.globalAlpha = opacity;
    pen.lineWidth = 1.4;
    for (const one of this.members) {
      if (!belongs(one) || this.names.some((name) => one.predicted[name] === undefined)) continue;
      pen.beginPath();
      this.names.forEach((name, i) => pen.lineTo(this.x(i), this.y(name, one.predicted[name])));
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  axis(pen, name, index) {
    const x = this.x(index), scale = this.scales[name], [low, high] = this.ends[name];
    pen.strokeStyle = colour("edge");
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(x, this.top);
    pen.lineTo(x, this.bottom);
    pen.stroke();
    pen.textAlign = "center";
    pen.fillStyle = colour("ink");
    pen.font = "600 12px system-ui, sans-serif";
    pen.fillText(scale.name, x, 18, Math.max(100, this.step - 6));
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = colour("dim");
    pen.fillText(shown(scale, high), x, 40);
    pen.fillText(shown(scale, low), x, this.bottom + 18);
    const limit = this.limits[name];
    if (!limit) return;
    const from = this.y(name, Math.min(high, limit[1])), to = this.y(name, Math.max(low, limit[0]));
    pen.fillStyle = colour("focus");
    pen.globalAlpha = 0.35;
    pen.fillRect(x - 7, Math.min(from, to), 14, Math.max(2, Math.abs(to - from)));
    pen.globalAlpha = 1;
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: Math.min(this.bottom, Math.max(this.top, event.clientY - box.top)) };
  }

  begin(event) {
    const { x, y } = this.at(event);
    const index = this.names.findIndex((_, i) => Math.abs(this.x(i) - x) < 16);
    if (index < 0) return;
    this.drag = { name: this.names[index], y };
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.drag) return;
    const { name, y } = this.drag, now = this.at(event).y;
    if (Math.abs(now - y) > 3) this.brush(name, y, now);
  }

  end(event) {
    if (!this.drag) return;
    const { name, y } = this.drag, now = this.at(event).y;
    this.drag = null;
    if (Math.abs(now - y) > 3) this.brush(name, y, now);
    else this.onBrush(name, null, null);
  }

  brush(name, a, b) {
    this.onBrush(name, this.value(name, Math.max(a, b)), this.value(name, Math.min(a, b)));
  }
}
