"use strict";
// Fronts of several experiments or devices in one plot, each with a colour and a mark of its own. The colours and marks
// of measured values and of test images are not among them, since all that is drawn here comes from the searches.

const COLOURS = { light: ["#0072b2", "#9c3587", "#7a6000", "#1c2126", "#5b4db8", "#a4262c", "#007d8a", "#6b737b"],
  dark: ["#5fb5e8", "#e38fd0", "#f0e442", "#e8ebee", "#a99df5", "#ff8f87", "#5ad1de", "#9aa4ad"] };
const MARKS = ["circle", "triangle", "cross", "down", "star", "left", "pentagon", "right"];

const place = document.getElementById("compare-plot");

function seriesOf(data, group, index) {
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const [x, y] = data.axes.map((name) => data.scales[name]);
  const line = (scale, one) => `${scale.name}: ${shown(scale, one.predicted[scale.metric])} ${group.searched && scale.metric.startsWith("top1") ? "measured in the search" : "predicted"}`;
  return {
    name: group.name, size: 5, ink: COLOURS[theme][index % 8],
    shape: MARKS[(index + Math.floor(index / 8)) % 8], // after eight, other marks for the same colours
    points: group.members.map((one) => ({
      x: one.predicted[x.metric] / x.scale, y: one.predicted[y.metric] / y.scale, id: one.id, experiment: one.experiment,
      opacity: one.dominated ? 0.35 : 1, words: () => [`Candidate ${one.id} of ${group.name}`, line(y, one), line(x, one), ...(one.dominated ? ["dominated"] : [])],
    })),
  };
}

async function compare() {
  const answer = await fetch(place.dataset.plot);
  if (!answer.ok) return;
  const data = await answer.json();
  if (!data.axes) return;
  place.hidden = false;
  const plot = new Scatter(place.querySelector(".plot"), place.querySelector(".legend"), {
    onDrag: (x, y) => plot.zoom([x, y]), onReset: () => plot.zoom(null),
    onOpen: (mark) => { location.href = `/experiments/${encodeURIComponent(mark.experiment)}/candidates/${mark.id}`; },
  });
  const draw = () => plot.show(data.groups.map((group, i) => seriesOf(data, group, i)), ...data.axes.map((name) => data.scales[name]));
  draw();
  onThemeChange(draw);
}

if (place) compare();
