"use strict";
// Fronts of several experiments or devices in one plot, each with a colour and a mark of its own.

const COLOURS = { light: ["#0072b2", "#b34700", "#00714f", "#8a4f7d", "#7a6000", "#1c2126", "#3d6f9e", "#a4262c"],
  dark: ["#5fb5e8", "#ff9d4d", "#3ecf9b", "#d39ac6", "#f0e442", "#e8ebee", "#9ccfe8", "#ff8f87"] };
const MARKS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon"];

const place = document.getElementById("compare-plot");

function groupTraces(data, group, index) {
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const [x, y] = data.axes.map((name) => data.scales[name]), ink = COLOURS[theme][index % COLOURS.dark.length];
  const sorted = [...group.members].sort((a, b) => a.predicted[x.metric] - b.predicted[x.metric]);
  return {
    name: group.name, type: "scatter", mode: "markers", x: sorted.map((one) => one.predicted[x.metric] / x.scale),
    y: sorted.map((one) => one.predicted[y.metric] / y.scale), customdata: sorted.map((one) => [one.experiment, one.id]),
    text: sorted.map((one) => `Candidate ${one.id}<br>${y.name}: ${shown(y, one.predicted[y.metric])} predicted<br>${x.name}: ${shown(x, one.predicted[x.metric])} predicted`),
    hovertemplate: "%{text}<extra></extra>",
    marker: { symbol: MARKS[index % MARKS.length], size: 8, color: ink, opacity: sorted.map((one) => (one.dominated ? 0.35 : 1)) },
  };
}

async function compare() {
  const answer = await fetch(place.dataset.plot);
  if (!answer.ok) return;
  const data = await answer.json();
  if (!data.axes) return;
  place.hidden = false;
  const draw = () => Plotly.react(place, data.groups.map((group, i) => groupTraces(data, group, i)),
    { ...plotLayout(data.scales[data.axes[0]], data.scales[data.axes[1]]), dragmode: "zoom" }, { ...PLOT_CONFIG, doubleClick: "reset" });
  draw();
  onThemeChange(draw);
  place.on("plotly_click", (event) => {
    const [experiment, id] = event.points[0].customdata;
    location.href = `/experiments/${encodeURIComponent(experiment)}/candidates/${id}`;
  });
}

if (place) compare();
