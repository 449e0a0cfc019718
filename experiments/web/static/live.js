"use strict";
// Parts of a page with data-live="SECONDS" are fetched again and replaced where they changed, as long as somebody
// looks. Without this script the page is the same, and is loaded again by its reader.

const SCROLLS = ".wide, .log";
const live = { timer: 0, failures: 0 };

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) {
      time.title = time.dateTime;
      time.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    }
  }
}

function isBusy(part) {
  const focus = document.activeElement;
  return part.contains(focus) && focus !== part && focus.matches("input, select, textarea");
}

function replaceParts(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (next === null || isBusy(part)) continue;
    part.dataset.live = next.dataset.live;
    localTimes(next);
    if (part.innerHTML === next.innerHTML) continue;
    const focus = part.contains(document.activeElement) ? document.activeElement : null;
    const href = focus && focus.getAttribute("href");
    const scrolled = Array.from(part.querySelectorAll(SCROLLS), (box) => [box.scrollLeft, box.scrollTop]);
    part.replaceChildren(...next.childNodes);
    part.querySelectorAll(SCROLLS).forEach((box, i) => scrolled[i] && box.scrollTo(...scrolled[i]));
    if (href) Array.from(part.querySelectorAll("a")).find((a) => a.getAttribute("href") === href)?.focus();
    part.dispatchEvent(new CustomEvent("live", { bubbles: true }));
  }
}

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
      if (answer.ok) {
        replaceParts(new DOMParser().parseFromString(await answer.text(), "text/html"));
        live.failures = 0;
      } else live.failures += 1;
    } catch {
      live.failures += 1;
    }
  }
  plan();
}

function plan() {
  const waits = Array.from(document.querySelectorAll("[data-live]"), (part) => Number(part.dataset.live));
  const wait = Math.min(...waits.filter((seconds) => seconds > 0));
  clearTimeout(live.timer);
  if (Number.isFinite(wait)) live.timer = setTimeout(refresh, 1000 * wait * Math.min(20, 2 ** live.failures));
}

async function loadLater(part) {
  try {
    const answer = await fetch(part.dataset.load, { redirect: "error" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = answer.ok && fresh.getElementById(part.id);
    if (found) part.replaceChildren(...found.childNodes);
  } catch { /* its link stays */ }
}

localTimes(document);
plan();
for (const part of document.querySelectorAll("[data-load]")) loadLater(part);
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
