"use strict";
// The front of an experiment: a scatter over two metrics, parallel coordinates, and a filter that both of them, the
// form and the table share. Predicted and measured values are marks of their own.

const front = { data: null, tag: "", x: "", y: "", parallel: null };
const plots = document.getElementById("plots");
const scatter = document.getElementById("scatter");
const fields = () => Array.from(document.querySelectorAll("#filter input"));
const field = (name) => fields().find((input) => input.name === name);

function limits() {
  const found = {};
  for (const input of fields()) {
    const [side, ...rest] = input.name.split("."), metric = rest.join("."), scale = front.data.scales[metric];
    if (input.value === "" || !scale || Number.isNaN(input.valueAsNumber)) continue;
    found[metric] ??= [-Infinity, Infinity];
    found[metric][side === "min" ? 0 : 1] = input.valueAsNumber * scale.scale;
  }
  return { ...found, ...front.extra };
}

front.extra = {}; // limits of metrics that have no field

function limit(metric, low, high) {
  if (metric === null) {
    front.extra = {};
    for (const input of fields()) input.value = "";
  } else {
    set(metric, low, high);
  }
  choose();
}

function set(metric, low, high) {
  const ends = ["min", "max"].map((side) => field(`${side}.${metric}`)), scale = front.data.scales[metric].scale;
  if (ends[0]) [low, high].forEach((value, i) => { ends[i].value = value === null ? "" : Number((value / scale).toPrecision(6)); });
  else if (low === null) delete front.extra[metric];
  else front.extra[metric] = [low, high];
}

function choose() {
  if (!front.data) return;
  const wanted = limits();
  front.kept = new Set(front.data.members.filter((one) => Object.entries(wanted).every(([name, [low, high]]) => {
    const value = one.predicted[name], slack = 1e-9 * Math.abs(value);
    return value !== undefined && value >= low - slack && value <= high + slack;
  })).map((one) => one.id));
  rows();
  const count = document.getElementById("shown");
  const more = hidden() && front.kept.size < front.data.members.length ? `; the table has ${document.querySelectorAll("#members tbody tr:not([hidden])").length} of these until you press Show` : "";
  if (count) count.textContent = `${front.kept.size} of ${front.data.members.length} members${more}`;
  draw();
}

// How many members, of those that the address asks for, the table has no row for.
function hidden() {
  return Number(document.getElementById("front-table")?.dataset.hidden ?? 0);
}

function rows() {
  for (const row of document.querySelectorAll("#members tbody tr")) {
    row.hidden = !front.kept.has(Number(row.dataset.candidate));
  }
}

function words(one) {
  const lines = [`Candidate ${one.id}`, ...(one.architecture ? [one.architecture, one.bits] : [])];
  for (const name of front.data.objectives) {
    const scale = front.data.scales[name];
    if (!scale) continue;
    const found = name in one.predicted ? [`${shown(scale, one.predicted[name])} ${scale.found}`] : [];
    if (name in one.measured) found.push(`${shown(scale, one.measured[name])} measured`);
    lines.push(`${scale.name}: ${found.join(", ")}`);
  }
  return lines;
}

// Marks where the search has a member, or where it was measured; what was not measured stays as the search has it.
function points(members, kind) {
  const value = (one, scale) => (one[kind][scale.metric] ?? one.predicted[scale.metric]) / scale.scale;
  const [x, y] = [front.data.scales[front.x], front.data.scales[front.y]];
  return members.filter((one) => front.x in one.predicted && front.y in one.predicted)
    .map((one) => ({ x: value(one, x), y: value(one, y), id: one.id, words: () => words(one) }));
}

function frontName(x, y) {
  const same = x.found === y.found || x === y;
  return same ? `front, ${y.found}` : `front: ${y.name.toLowerCase()} ${y.found}, ${x.name.toLowerCase()} ${x.found}`;
}

// Measured members by which of the two metrics was measured, and by whether another measured one dominates them.
function measuredSeries(members, x, y) {
  const ink = colour("measured"), found = [];
  for (const dominated of [true, false]) {
    const own = members.filter((one) => one.dominated === dominated), end = dominated ? ", dominated" : "";
    const has = (one, name) => name in one.measured;
    const both = own.filter((one) => has(one, front.x) && has(one, front.y));
    const up = own.filter((one) => !has(one, front.x) && has(one, front.y));
    const across = own.filter((one) => has(one, front.x) && !has(one, front.y));
    const half = (name, of) => ({ name: name + end, shape: "square", half: true, open: dominated, size: 5, ink, points: points(of, "measured") });
    found.push(half(`${y.name.toLowerCase()} measured, ${x.name.toLowerCase()} ${x.found}`, up));
    found.push(half(`${x.name.toLowerCase()} measured, ${y.name.toLowerCase()} ${y.found}`, across));
    found.push({ name: `measured${end}`, shape: "square", open: dominated, size: 5, ink, points: points(both, "measured") });
  }
  return found;
}

function series() {
  const { members, cloud } = front.data;
  const [x, y] = [front.data.scales[front.x], front.data.scales[front.y]];
  const kept = members.filter((one) => front.kept.has(one.id));
  const measured = kept.filter((one) => front.x in one.measured || front.y in one.measured);
  const [from, to] = [points(measured, "predicted"), points(measured, "measured")];
  return [
    { name: "all candidates, thinned", shape: "circle", size: 1.7, ink: colour("cloud"), opacity: 0.5, points: cloud.x.map((value, i) => ({ x: value / x.scale, y: cloud.y[i] / y.scale })) },
    { name: "left out", shape: "circle", size: 2.5, ink: colour("edge"), open: true, opacity: 0.6, points: points(members.filter((one) => !front.kept.has(one.id)), "predicted") },
    { lines: from.map((point, i) => [point, to[i]]), ink: colour("cloud") },
    { name: frontName(x, y), shape: "circle", size: 3.5, ink: colour("predicted"), points: points(kept, "predicted") },
    ...measuredSeries(measured, x, y),
  ];
}

function draw() {
  const { scales, cloud, members, objectives, drawn } = front.data;
  if (!cloud) return;
  if (plots.hidden) plots.hidden = false;
  front.scatter ??= new Scatter(scatter, document.getElementById("legend"), { onDrag: brushed, onReset: () => limit(null, null, null), onOpen: (mark) => { location.href = plots.dataset.candidates + mark.id; } });
  front.scatter.show(series(), scales[front.x], scales[front.y]);
  document.getElementById("cloud-note").textContent = `Of ${cloud.total.toLocaleString()} candidates, ${(cloud.id.length + members.length).toLocaleString()} are drawn: every member of the front, and of others as many as can be told apart.`;
  front.parallel ??= new Parallel(document.getElementById("parallel"), limit);
  const names = [...objectives.filter((name) => drawn.includes(name)), ...drawn.filter((name) => !objectives.includes(name))];
  front.parallel.show(members, scales, names.slice(0, 10), front.kept, limits());
}

function brushed(across, up) {
  for (const [axis, range] of [[front.x, across], [front.y, up]]) set(axis, ...range.map((value) => value * front.data.scales[axis].scale));
  choose();
}

function axes() {
  for (const [id, key] of [["axis-x", "x"], ["axis-y", "y"]]) {
    const select = document.getElementById(id);
    if (!select.options.length) select.addEventListener("change", () => { front[key] = select.value; front.tag = ""; poll.run(); });
    const options = front.data.drawn.map((name) => front.data.scales[name]).map((scale) => new Option(scale.label, scale.metric, false, scale.metric === front[key]));
    if (document.activeElement !== select) select.replaceChildren(...options);
  }
}

const poll = new Poll("plot", {
  wait: () => (front.data?.over ? 0 : 2),
  ask: () => (front.x ? fetch(`${plots.dataset.plot}?${new URLSearchParams({ x: front.x, y: front.y })}`,
    { headers: front.tag ? { "If-None-Match": front.tag } : {}, cache: "no-store" }) : fetch(plots.dataset.plot)), // at first what the page's head asks for already
  read: (answer) => answer.json(),
  take: taken,
});

function taken(data, answer) {
  front.data = data;
  front.tag = answer.headers.get("ETag") ?? "";
  if (!data.axes) return;
  const first = !front.x;
  [front.x, front.y] = data.axes;
  axes();
  if (first) extras();
  choose();
}

// Limits of metrics without a field stand in the address after `Show`.
function extras() {
  for (const [name, text] of new URLSearchParams(location.search)) {
    const [side, ...rest] = name.split("."), scale = front.data.scales[rest.join(".")];
    if (!scale || !["min", "max"].includes(side) || field(name) || text === "" || Number.isNaN(Number(text))) continue;
    front.extra[scale.metric] ??= [-Infinity, Infinity];
    front.extra[scale.metric][side === "min" ? 0 : 1] = Number(text) * scale.scale;
  }
}

// The service lists what the script can not: members beyond the rows that are there.
function submitted(event) {
  if (event.target.id !== "filter" || !front.data) return;
  if (!hidden() && !location.search) {
    event.preventDefault();
    choose();
    return;
  }
  for (const [metric, ends] of Object.entries(front.extra)) {
    ends.forEach((value, i) => Number.isFinite(value) && event.target.append(Object.assign(document.createElement("input"), { type: "hidden", name: `${i ? "max" : "min"}.${metric}`, value: value / front.data.scales[metric].scale })));
  }
}

document.addEventListener("input", (event) => { if (event.target.closest("#filter")) choose(); });
document.addEventListener("submit", submitted);
document.addEventListener("click", (event) => { if (event.target.id === "show-all" && front.data && !location.search) { event.preventDefault(); limit(null, null, null); } });
document.getElementById("front-table")?.addEventListener("live", () => front.kept && rows());
onThemeChange(() => front.data && draw());
poll.run();
