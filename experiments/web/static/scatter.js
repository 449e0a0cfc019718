"use strict";
// Points over two metrics on a canvas. What is drawn here stands in the table, too; limits can be typed into the form
// instead of dragged, and the marks differ in shape as well as in colour.

const REACH = 12; // pixels from a mark at which the pointer means it
const SHAPES = {
  circle: (pen, x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI),
  square: (pen, x, y, r) => pen.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
  triangle: (pen, x, y, r) => polygon(pen, x, y, 1.25 * r, 3, 0),
  pentagon: (pen, x, y, r) => polygon(pen, x, y, 1.15 * r, 5, 0),
  down: (pen, x, y, r) => polygon(pen, x, y, 1.25 * r, 3, Math.PI),
  left: (pen, x, y, r) => polygon(pen, x, y, 1.25 * r, 3, -Math.PI / 2),
  right: (pen, x, y, r) => polygon(pen, x, y, 1.25 * r, 3, Math.PI / 2),
  cross: (pen, x, y, r) => polygon(pen, x, y, 1.3 * r, 8, 0, 0.4),
  star: (pen, x, y, r) => polygon(pen, x, y, 1.4 * r, 10, 0, 0.45),
};

function polygon(pen, x, y, r, corners, turn, inner = 1) {
  for (let i = 0; i < corners; i += 1) {
    const angle = turn - Math.PI / 2 + (2 * Math.PI * i) / corners, far = i % 2 ? r * inner : r;
    pen.lineTo(x + far * Math.cos(angle), y + far * Math.sin(angle));
  }
  pen.closePath();
}

// About `wanted` round numbers from low to high, and how they are written.
function ticksOf(low, high, wanted) {
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw * 0.999);
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9) + (Math.abs(step / power - 2.5) < 1e-9 ? 1 : 0));
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  const format = new Intl.NumberFormat("en", { minimumFractionDigits: Math.min(digits, 12), maximumFractionDigits: Math.min(digits, 12) });
  return Array.from({ length: last - first + 1 }, (_, i) => ({ value: (first + i) * step, text: format.format((first + i) * step) }));
}

class Scatter {
  // box: an element with a canvas and a .tip in it; legend: a list. onDrag([x0, x1], [y0, y1]) and onReset() in the
  // units of the axes, onOpen(mark). A series has name, shape, ink, size, opacity and points {x, y, id, words}; one
  // with lines has pairs of points instead. Without id a point is no mark that one can open or read.
  constructor(box, legend, { onDrag, onReset, onOpen }) {
    Object.assign(this, { box, legend, onDrag, onReset, onOpen, series: [], drag: null, over: null, frame: 0, view: null });
    this.canvas = box.querySelector("canvas");
    this.tip = box.querySelector(".tip");
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerup", (event) => this.end(event));
    for (const name of ["pointercancel", "pointerleave"]) this.canvas.addEventListener(name, () => this.leave());
    this.canvas.addEventListener("dblclick", () => this.onReset());
    new ResizeObserver(() => this.plan()).observe(box);
  }

  show(series, x, y) {
    Object.assign(this, { series: series.filter((one) => (one.points ?? one.lines).length), x, y });
    this.hover(null);
    this.explain();
    this.plan();
  }

  // What a part of the plot is shown as a whole, or null for all.
  zoom(view) {
    this.view = view;
    this.plan();
  }

  explain() {
    const items = this.series.filter((one) => one.name).map((one) => {
      const item = document.createElement("li"), key = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
      Object.assign(key, { width: 18 * ratio, height: 18 * ratio, ariaHidden: "true" });
      key.className = "key";
      const pen = key.getContext("2d");
      pen.scale(ratio, ratio);
      this.mark(pen, one, 9, 9, Math.max(3.5, one.size), Math.max(0.6, one.opacity ?? 1));
      item.append(key, one.name);
      return item;
    });
    this.legend.replaceChildren(...items);
    const marks = this.series.reduce((sum, one) => sum + (one.points?.length ?? 0), 0);
    this.canvas.setAttribute("aria-label", `${this.y.label} over ${this.x.label}, ${marks} marks; the table below has the same numbers`);
  }

  plan() {
    if (this.x) this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  place() {
    const ratio = window.devicePixelRatio || 1;
    [this.width, this.height] = [this.box.clientWidth, this.box.clientHeight];
    for (const [name, size] of [["width", this.width], ["height", this.height]]) {
      const pixels = Math.round(size * ratio);
      if (this.canvas[name] !== pixels) this.canvas[name] = pixels;
    }
    Object.assign(this, { left: 66, right: this.width - 16, top: 12, bottom: this.height - 50 });
    this.ends = this.view ?? [this.range("x"), this.range("y")];
    return ratio;
  }

  range(name) {
    let low = Infinity, high = -Infinity;
    for (const one of this.series) for (const point of one.points ?? []) {
      if (point[name] < low) low = point[name];
      if (point[name] > high) high = point[name];
    }
    const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - margin, high + margin];
  }

  at(point) {
    const [[x0, x1], [y0, y1]] = this.ends;
    return [this.left + ((point.x - x0) / (x1 - x0)) * (this.right - this.left), this.bottom - ((point.y - y0) / (y1 - y0)) * (this.bottom - this.top)];
  }

  values([a, b]) {
    const [[x0, x1], [y0, y1]] = this.ends;
    const across = (x) => x0 + ((x - this.left) / (this.right - this.left)) * (x1 - x0);
    const up = (y) => y0 + ((this.bottom - y) / (this.bottom - this.top)) * (y1 - y0);
    return [[across(Math.min(a.x, b.x)), across(Math.max(a.x, b.x))], [up(Math.max(a.y, b.y)), up(Math.min(a.y, b.y))]];
  }

  draw() {
    const ratio = this.place(), pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    this.axes(pen);
    pen.save();
    pen.beginPath();
    pen.rect(this.left, this.top, this.right - this.left, this.bottom - this.top);
    pen.clip();
    for (const one of this.series) if (one.lines) this.strokes(pen, one); else this.points(pen, one);
    if (this.over) this.ring(pen);
    if (this.drag?.to) this.band(pen);
    pen.restore();
    this.box.dataset.drawn = this.series.length;
  }

  axes(pen) {
    const [[x0, x1], [y0, y1]] = this.ends;
    pen.lineWidth = 1;
    pen.strokeStyle = colour("line");
    pen.fillStyle = colour("dim");
    pen.font = "12px system-ui, sans-serif";
    for (const [ticks, isAcross] of [[ticksOf(x0, x1, Math.max(3, this.width / 110)), true], [ticksOf(y0, y1, 8), false]]) {
      pen.textAlign = isAcross ? "center" : "right";
      for (const tick of ticks) {
        const [x, y] = this.at({ x: isAcross ? tick.value : x0, y: isAcross ? y0 : tick.value });
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(isAcross ? x : this.right, isAcross ? this.top : y);
        pen.stroke();
        pen.fillText(tick.text, isAcross ? x : x - 7, isAcross ? y + 17 : y + 4);
      }
    }
    pen.fillStyle = colour("ink");
    pen.font = "13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.fillText(this.x.label, (this.left + this.right) / 2, this.height - 10);
    pen.save();
    pen.translate(15, (this.top + this.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(this.y.label, 0, 0);
    pen.restore();
  }

  points(pen, one) {
    for (const point of one.points) this.mark(pen, one, ...this.at(point), one.size, point.opacity ?? one.opacity ?? 1);
    pen.globalAlpha = 1;
  }

  // `open`: an outline; `half`: an outline with a line across, and filled below it unless it is open, too.
  mark(pen, one, x, y, size, opacity) {
    pen.globalAlpha = opacity;
    pen.beginPath();
    SHAPES[one.shape](pen, x, y, size);
    if (!one.open && !one.half) {
      pen.fillStyle = one.ink;
      pen.fill();
      return;
    }
    if (one.half) { pen.moveTo(x - 0.9 * size, y); pen.lineTo(x + 0.9 * size, y); }
    if (!one.open) { pen.fillStyle = one.ink; pen.fillRect(x - 0.9 * size, y, 1.8 * size, 0.9 * size); }
    pen.strokeStyle = one.ink;
    pen.lineWidth = 1.7;
    pen.stroke();
  }

  strokes(pen, one) {
    pen.strokeStyle = one.ink;
    pen.lineWidth = 1;
    for (const [from, to] of one.lines) {
      pen.beginPath();
      pen.moveTo(...this.at(from));
      pen.lineTo(...this.at(to));
      pen.stroke();
    }
  }

  ring(pen) {
    pen.strokeStyle = colour("focus");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(...this.at(this.over), 8, 0, 2 * Math.PI);
    pen.stroke();
  }

  band(pen) {
    const { from, to } = this.drag;
    pen.fillStyle = pen.strokeStyle = colour("focus");
    pen.globalAlpha = 0.15;
    pen.fillRect(from.x, from.y, to.x - from.x, to.y - from.y);
    pen.globalAlpha = 1;
    pen.lineWidth = 1;
    pen.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
  }

  pointer(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: Math.min(this.right, Math.max(this.left, event.clientX - box.left)), y: Math.min(this.bottom, Math.max(this.top, event.clientY - box.top)) };
  }

  nearest({ x, y }) {
    let best = null, least = REACH;
    for (const one of this.series) for (const point of one.points ?? []) {
      if (point.id === undefined) continue;
      const [px, py] = this.at(point), distance = Math.hypot(px - x, py - y);
      if (distance <= least) [best, least] = [point, distance]; // later ones lie on top
    }
    return best;
  }

  begin(event) {
    if (event.button !== 0 || !this.ends) return;
    this.drag = { from: this.pointer(event), to: null };
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.ends) return;
    const now = this.pointer(event);
    if (this.drag) {
      if (this.drag.to || Math.hypot(now.x - this.drag.from.x, now.y - this.drag.from.y) > 4) this.drag.to = now;
      this.hover(null);
    } else this.hover(this.nearest(now));
  }

  end(event) {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    const found = this.nearest(this.pointer(event));
    if (drag.to) this.onDrag(...this.values([drag.from, drag.to]));
    else if (found) this.onOpen(found);
    this.plan();
  }

  leave() {
    this.drag = null;
    this.hover(null);
  }

  hover(point) {
    if (point !== this.over || this.drag) this.plan();
    this.over = point;
    this.tip.hidden = point === null;
    this.canvas.classList.toggle("aims", point !== null);
    if (point === null) return;
    this.tip.replaceChildren(...point.words().map((line) => Object.assign(document.createElement("span"), { textContent: line })));
    const [x, y] = this.at(point);
    this.tip.style.left = `${Math.max(4, Math.min(x + 14, this.width - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${Math.max(4, y - this.tip.offsetHeight - 12 < 4 ? y + 14 : y - this.tip.offsetHeight - 12)}px`;
  }
}
