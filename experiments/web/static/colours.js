"use strict";
// The colours of the page, as its style has them for light and dark.

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function onThemeChange(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// What all plots have in common.
function plotLayout(x, y) {
  const axis = { automargin: true, gridcolor: colour("line"), zeroline: false, linecolor: colour("edge"), tickcolor: colour("edge") };
  return {
    paper_bgcolor: colour("panel"), plot_bgcolor: colour("panel"), hovermode: "closest", dragmode: "select",
    font: { family: "system-ui, sans-serif", size: 13, color: colour("ink") },
    xaxis: { ...axis, title: { text: x.label, standoff: 6 }, rangemode: "normal" }, yaxis: { ...axis, title: { text: y.label, standoff: 6 } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 62, r: 16, t: 46, b: 60 },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("edge"), font: { color: colour("ink") }, align: "left" },
  };
}

const PLOT_CONFIG = { displaylogo: false, responsive: true, displayModeBar: false, doubleClick: false };

function shown(scale, value) {
  if (value === undefined || value === null) return "not measured";
  const number = value / scale.scale;
  return `${scale.metric.startsWith("top1") ? number.toFixed(2) : Number(number.toPrecision(4))} ${scale.unit}`.trim();
}
