"use strict";
// The colours of the page, as its style has them for light and dark, and how plots write numbers.

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function onThemeChange(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

function shown(scale, value) {
  if (value === undefined || value === null) return "not measured";
  const number = value / scale.scale;
  return `${scale.metric.startsWith("top1") ? number.toFixed(2) : Number(number.toPrecision(4))} ${scale.unit}`.trim();
}
