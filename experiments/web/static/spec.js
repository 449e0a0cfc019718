"use strict";
// Keeps the fields and the YAML of a new experiment in step. The service reads and writes the YAML, so that there is
// one truth about it; without this script the page has a button for the same.

const spec = document.getElementById("spec");
const yaml = document.getElementById("yaml");
const fields = Array.from(spec.querySelectorAll("[data-field]"), (box) => ({
  path: box.dataset.field, box, input: box.querySelector("input, select"), error: box.querySelector(".error"),
}));
document.getElementById("before").name = "in_step"; // the YAML follows the fields before it is sent
const WAIT = 350;
const changed = new Set(); // paths of fields that the YAML does not follow yet
const checked = document.getElementById("checked");
let timer = 0, edits = 0;

function edited() {
  edits += 1;
  checked.textContent = "Checking …";
  clearTimeout(timer);
  timer = setTimeout(look, WAIT);
}

// True where the YAML says what the fields say afterwards.
async function look() {
  clearTimeout(timer);
  const before = edits, sent = fields.filter((one) => changed.has(one.path));
  const body = { yaml: yaml.value };
  if (sent.length) body.fields = Object.fromEntries(sent.map((one) => [one.path, one.input.value]));
  const token = spec.querySelector("input[type=hidden]").value;
  try {
    const answer = await fetch(spec.dataset.check, {
      method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": token }, body: JSON.stringify(body),
    });
    if (!answer.ok) return refused(answer.status);
    const found = await answer.json();
    if (edits !== before) return false; // what was typed meanwhile is looked at next
    if (found.taken) changed.clear();
    if (sent.length && found.taken) yaml.value = found.yaml;
    if (found.taken) fill(found.fields);
    tell(found.problems);
    return found.taken;
  } catch {
    checked.textContent = "The service does not answer, so that this is not checked.";
    return false;
  }
}

const REFUSED = {
  401: "You are signed out, so that this is not checked. Sign in on another page, and go on here.",
  403: "You may not launch any more, so that this is not checked.",
  422: "This is too long to be checked.", 413: "This is too long to be checked.",
};

function refused(status) {
  if (status === 429 || status >= 500) timer = setTimeout(look, 10 * 1000);
  checked.textContent = REFUSED[status] ?? (status === 429 ? "The service asks for patience; this is checked in a moment." : `The service answers with an error (${status}), so that this is not checked yet.`);
  return false;
}

async function launch(event) {
  if (!changed.size) return;
  event.preventDefault();
  if (await look()) spec.submit();
}

function fill(texts) {
  for (const { path, input } of fields) {
    const text = texts[path] ?? "";
    if (input === document.activeElement || input.value === text) continue;
    if (input.tagName === "SELECT" && !Array.from(input.options).some((one) => one.value === text)) input.add(new Option(text));
    input.value = text;
  }
}

function tell(problems) {
  for (const { path, box, input, error } of fields) {
    const own = problems.filter((one) => one.field === path);
    error.textContent = own.map((one) => `${one.path}: ${one.text}`).join("; ");
    box.classList.toggle("bad", own.length > 0);
    if (own.length) { input.setAttribute("aria-invalid", "true"); box.closest("details").open = true; } else input.removeAttribute("aria-invalid");
  }
  const rest = problems.filter((one) => one.field === "yaml");
  document.getElementById("yaml-error").textContent = rest.map((one) => `${one.path}: ${one.text}`).join("; ");
  if (rest.length) yaml.setAttribute("aria-invalid", "true"); else yaml.removeAttribute("aria-invalid");
  document.getElementById("problems").hidden = true;
  const words = problems.length === 1 ? "1 problem, shown at its field" : `${problems.length} problems, shown at their fields`;
  checked.textContent = problems.length ? words : "Can be launched.";
}

for (const { path, input } of fields) {
  input.addEventListener("input", () => { changed.add(path); edited(); });
}
yaml.addEventListener("input", edited);
spec.addEventListener("submit", launch);
for (const one of document.querySelectorAll(".without-js")) one.hidden = true;
if (document.getElementById("problems").hidden) look();
