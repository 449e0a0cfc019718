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
    const ends = ["min", "max"].map((side) => field(`${side}.${metric}`));
    const scale = front.data.scales[metric].scale;
    if (ends[0]) [low, high].forEach((value, i) => { ends[i].value = value === null ? "" : Number((value / scale).toPrecision(6)); });
    else if (low === null) delete front.extra[metric];
    else front.extra[metric] = [low, high];
  }
  choose();
}

function choose() {
  if (!front.data) return;
  const wanted = limits();
  front.kept = new Set(front.data.members.filter((one) => Object.entries(wanted).every(([name, [low, high]]) => {
    const value = one.predicted[name], slack = 1e-9 * Math.abs(value);
    return value !== undefined && value >= low - slack && value <= high + slack;
  })).map((one) => one.id));
  const count = document.getElementById("shown");
  if (count) count.textContent = `${front.kept.size} of ${front.data.members.length} members`;
  rows();
  draw();
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
    const measured = one.measured[name];
    lines.push(`${scale.name}: ${shown(scale, one.predicted[name])} predicted${measured === undefined ? "" : `, ${shown(scale, measured)} measured`}`);
  }
  return lines.join("<br>");
}

function trace(name, members, kind, marker) {
  const [x, y] = [front.data.scales[front.x], front.data.scales[front.y]];
  const value = (one, scale) => (one[kind][scale.metric] ?? one.predicted[scale.metric]) / scale.scale;
  return {
    name, type: "scatter", mode: "markers", marker, x: members.map((one) => value(one, x)),
    y: members.map((one) => value(one, y)), customdata: members.map((one) => one.id),
    text: members.map(words), hovertemplate: "%{text}<extra></extra>",
  };
}

function links(members) {
  const [x, y] = [front.data.scales[front.x], front.data.scales[front.y]];
  const stroke = (scale) => members.flatMap((one) => [one.predicted[scale.metric] / scale.scale, (one.measured[scale.metric] ?? one.predicted[scale.metric]) / scale.scale, null]);
  return { type: "scatter", mode: "lines", x: stroke(x), y: stroke(y), line: { color: colour("cloud"), width: 1 }, hoverinfo: "skip", showlegend: false };
}

function traces() {
  const { members, cloud } = front.data;
  const [x, y] = [front.data.scales[front.x], front.data.scales[front.y]];
  const kept = members.filter((one) => front.kept.has(one.id));
  const measured = kept.filter((one) => front.x in one.measured || front.y in one.measured);
  const others = members.length - kept.length ? [trace("left out", members.filter((one) => !front.kept.has(one.id)), "predicted", { symbol: "circle", size: 5, color: colour("line") })] : [];
  return [
    { name: "all candidates, thinned", type: "scatter", mode: "markers", x: cloud.x.map((v) => v / x.scale), y: cloud.y.map((v) => v / y.scale),
      marker: { size: 3, color: colour("cloud"), opacity: 0.45 }, hoverinfo: "skip" },
    ...others, links(measured),
    trace("front, predicted", kept, "predicted", { symbol: "circle", size: 7, color: colour("predicted") }),
    trace("measured", measured.filter((one) => !one.dominated), "measured", { symbol: "square", size: 9, color: colour("measured") }),
    trace("measured, dominated", measured.filter((one) => one.dominated), "measured", { symbol: "square-open", size: 9, color: colour("measured") }),
  ].filter((one) => one.x.length);
}

function draw() {
  const { scales, cloud, members, objectives } = front.data;
  if (!cloud) return;
  if (plots.hidden) plots.hidden = false;
  Plotly.react(scatter, traces(), { ...plotLayout(scales[front.x], scales[front.y]), uirevision: `${front.x} ${front.y}` }, PLOT_CONFIG);
  document.getElementById("cloud-note").textContent = `Of ${cloud.total.toLocaleString()} candidates, ${(cloud.id.length + members.length).toLocaleString()} are drawn: every member of the front, and of others as many as can be told apart.`;
  front.parallel ??= new Parallel(document.getElementById("parallel"), limit);
  const names = [...objectives.filter((name) => scales[name]), ...Object.keys(scales).filter((name) => !objectives.includes(name) && members.every((one) => name in one.predicted))];
  front.parallel.show(members, scales, names.slice(0, 10), front.kept, limits());
}

function listen() {
  scatter.on("plotly_selected", (event) => {
    if (!event || !event.range) return;
    for (const [axis, range] of [[front.x, event.range.x], [front.y, event.range.y]]) {
      const ends = [...range].sort((a, b) => a - b).map((value) => value * front.data.scales[axis].scale);
      limit(axis, ...ends);
    }
    Plotly.relayout(scatter, { selections: [] });
  });
  scatter.on("plotly_doubleclick", () => limit(null, null, null));
  scatter.on("plotly_click", (event) => {
    const id = event.points[0]?.customdata;
    if (id !== undefined) location.href = plots.dataset.candidates + id;
  });
}

function axes() {
  for (const [id, key] of [["axis-x", "x"], ["axis-y", "y"]]) {
    const select = document.getElementById(id);
    if (!select.options.length) select.addEventListener("change", () => { front[key] = select.value; front.tag = ""; poll.run(); });
    const options = Object.values(front.data.scales).map((scale) => new Option(scale.label, scale.metric, false, scale.metric === front[key]));
    if (document.activeElement !== select) select.replaceChildren(...options);
  }
}

const poll = new Poll("plot", {
  wait: () => (front.data?.over ? 0 : 2),
  ask: () => fetch(`${plots.dataset.plot}?${new URLSearchParams(front.x ? { x: front.x, y: front.y } : {})}`,
    { headers: front.tag ? { "If-None-Match": front.tag } : {}, cache: "no-store" }),
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
  choose();
  if (first) listen();
}

document.addEventListener("input", (event) => { if (event.target.closest("#filter")) choose(); });
document.addEventListener("submit", (event) => { if (event.target.id === "filter") { event.preventDefault(); choose(); } });
document.addEventListener("click", (event) => { if (event.target.id === "show-all") { event.preventDefault(); limit(null, null, null); } });
document.getElementById("front-table")?.addEventListener("live", () => front.kept && rows());
onThemeChange(() => front.data && draw());
poll.run();
