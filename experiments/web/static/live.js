"use strict";
// Parts of a page with data-live="SECONDS" are fetched again and replaced where they changed, as long as somebody
// looks. Without this script the page is the same, and is loaded again by its reader.

const SCROLLS = ".wide, .log";
const KEYED = "a, button, summary, [tabindex]";
const SLOWEST = 20; // times the usual wait, after many failures
const SIGN_IN = () => [`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`, "Sign in"];
const ENDS = { // answers after which asking again is of no use
  401: () => ["You are signed out.", SIGN_IN()],
  403: () => ["You may not see this any more.", SIGN_IN()],
  404: () => ["It is not there any more.", ["/experiments", "All experiments"]],
};

const stale = new Map(); // by the name of a poll: why what it shows is old, since when, and a link that leads on

function tellStale() {
  const box = document.getElementById("stale") ?? document.createElement("div");
  const [told] = stale.values();
  if (!told) return box.remove();
  const since = told.since.toLocaleTimeString(undefined, { timeStyle: "short" });
  const link = told.link && Object.assign(document.createElement("a"), { href: told.link[0], textContent: told.link[1] });
  const line = document.createElement("p");
  line.append(`Not up to date since ${since}. ${told.why} `, ...(link ? [link] : []));
  if (box.innerHTML === line.outerHTML) return undefined; // said once
  Object.assign(box, { id: "stale", className: "notice bad" });
  box.setAttribute("role", "status");
  if (!box.isConnected) document.getElementById("main").prepend(box);
  return box.replaceChildren(line);
}

// Asks again and again while somebody looks: rarely while the service fails, as late as it wishes, and no more once
// it says that this reader gets no answer. Of answers that cross, the one to the last question counts.
class Poll {
  // wait: seconds until the next, 0 for never; ask: a Response; read: what is in it; take: what to do with that.
  constructor(name, { wait, ask, read, take }) {
    Object.assign(this, { name, wait, ask, read, take, timer: 0, failures: 0, asked: 0, since: new Date(), isOver: false });
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.timer) this.run(); });
  }

  plan(least = 0) {
    clearTimeout(this.timer);
    const wait = this.isOver ? 0 : this.wait();
    this.timer = wait > 0 ? setTimeout(() => this.run(), 1000 * Math.max(least, wait * Math.min(SLOWEST, 2 ** this.failures))) : 0;
  }

  async run() {
    if (document.hidden && this.timer) return this.plan();
    clearTimeout(this.timer);
    const number = ++this.asked;
    let answer = null, content = null;
    try {
      answer = await this.ask();
      if (answer.ok) content = await this.read(answer);
    } catch { answer = null; }
    if (number !== this.asked) return undefined;
    const status = answer?.type === "opaqueredirect" ? 401 : answer?.status ?? 0; // pages lead to where one signs in
    if (content === null && status !== 304) return this.failed(status, Number(answer?.headers.get("Retry-After")) || 0);
    Object.assign(this, { failures: 0, since: new Date() });
    if (stale.delete(this.name)) tellStale();
    if (content !== null) this.take(content, answer);
    return this.plan();
  }

  failed(status, least) {
    this.failures += 1;
    this.isOver = status in ENDS;
    const [why, link] = ENDS[status]?.() ?? [status ? `The service answers with an error (${status}) and is asked again.` : "The service does not answer and is asked again."];
    if (this.isOver || this.failures > 1) { // one failure alone is soon mended
      stale.set(this.name, { why, link, since: this.since });
      tellStale();
    }
    this.plan(least);
  }
}

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

// By what an element is the same after its part was replaced.
function keyOf(element) {
  return [element.tagName, element.id || element.getAttribute("href") || element.getAttribute("aria-label") || element.textContent.trim()].join(" ");
}

function replaceParts(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (next === null || isBusy(part)) continue;
    Object.assign(part.dataset, next.dataset);
    localTimes(next);
    if (part.innerHTML === next.innerHTML) continue;
    const focus = part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    const typed = new Map(Array.from(part.querySelectorAll("input"), (input) => [keyOf(input), input.value]));
    const scrolled = Array.from(part.querySelectorAll(SCROLLS), (box) => [box.scrollLeft, box.scrollTop]);
    part.replaceChildren(...next.childNodes);
    part.querySelectorAll(SCROLLS).forEach((box, i) => scrolled[i] && box.scrollTo(...scrolled[i]));
    for (const input of part.querySelectorAll("input:not([type=hidden])")) input.value = typed.get(keyOf(input)) ?? input.value;
    if (focus) Array.from(part.querySelectorAll(KEYED)).find((one) => keyOf(one) === focus)?.focus({ preventScroll: true });
    part.dispatchEvent(new CustomEvent("live", { bubbles: true }));
  }
}

function shortestWait() {
  const waits = Array.from(document.querySelectorAll("[data-live]"), (part) => Number(part.dataset.live));
  const shortest = Math.min(...waits.filter((seconds) => seconds > 0));
  return Number.isFinite(shortest) ? shortest : 0;
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
new Poll("page", {
  wait: shortestWait,
  ask: () => fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" }),
  read: async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html"),
  take: replaceParts,
}).plan();
// What takes the service a while is asked for when it comes near, so that nothing above it waits.
const near = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) if (isIntersecting) { near.unobserve(target); loadLater(target); }
}, { rootMargin: "300px" });
for (const part of document.querySelectorAll("[data-load]")) near.observe(part);
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
