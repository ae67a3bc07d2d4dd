// The log of a build: what is in sight of it (logview.js), sections (logfold.js), searches
// (logsearch.js), and here the rest: following its end, links to lines, copying, times.

import { isPast, keepStream, refresh } from "./live.js";
import { Folds } from "./logfold.js";
import { LogSearch } from "./logsearch.js";
import { LogView, number } from "./logview.js";

const panel = document.getElementById("log-panel");
const log = document.getElementById("log");
const partial = document.getElementById("partial");
const end = document.getElementById("end");
const byId = (id) => document.getElementById(id);

let following = false, cursor = panel?.dataset.end, done = false;
let view = null, folds = null, search = null, picked = null, began = NaN, ready = false;

export function startLog() {
  if (!panel) return;
  for (const element of panel.querySelectorAll("[data-script]")) element.hidden = false;
  for (const note of panel.querySelectorAll("[data-pager]")) note.remove();
  began = Date.parse(panel.dataset.began ?? "");
  folds = new Folds(null, byId("log-fold"));
  folds.learn(JSON.parse(panel.dataset.sections));
  const here = firstShown();
  view = new LogView(panel, log, partial, { decorate, learn });
  folds.view = view;
  folds.sections = [];
  folds.learn(JSON.parse(panel.dataset.sections));
  search = new LogSearch(panel, view, (n) => show(n, "here"));
  ready = true;
  setUpWrap();
  setUpFollow();
  setUpSearch();
  setUpPicking();
  setUpTimes();
  setUpOutline();
  if (/[?&]from=/.test(location.search) && !location.hash && here) view.line(here)?.scrollIntoView({ block: "start" });
  if ("follow" in panel.dataset && !isPast) listen();
}

const firstShown = () => log.querySelector(".line > a")?.dataset.n;

/** Every line that appears gets what this reader has asked for. */
function decorate(line, n) {
  folds.decorate(line, n);
  if (picked && picked[0] <= n && n <= picked[1]) line.classList.add("picked");
  if (ready) search.decorate(line, n);
  if (line.dataset.t && !Number.isNaN(began)) line.dataset.c = clock(line.dataset.t);
}

function learn({ sections }) {
  folds.learn(sections);
}

async function show(n, mark) {
  folds.reveal(n);
  const line = await view.show(n);
  if (mark) line?.classList.add("hit", mark);
  return line;
}

// ---- what is being written

function listen() {
  let timer = 0;
  keepStream(
    (alive, close) => {
      if (done) return null;
      const source = new EventSource(`${panel.dataset.base}/events?from=${encodeURIComponent(cursor)}${view.at()}`);
      source.addEventListener("lines", (event) => {
        alive();
        cursor = event.lastEventId;
        byId("log-empty")?.remove();
        view.append(JSON.parse(event.data));
        if (following) toEnd();
        timer ||= setTimeout(() => { timer = 0; learnSections(); }, 10_000);
      });
      source.addEventListener("waits", (event) => {
        alive();
        const note = byId("log-empty");
        if (note) note.textContent = JSON.parse(event.data);
      });
      source.addEventListener("end", () => {
        done = true;
        close();
        refresh();
        learnSections();
      });
      return source;
    },
    () => {},
    () => {},
  );
}

async function learnSections() {
  try {
    const response = await fetch(`${panel.dataset.base}/lines?from=1&to=0${view.at()}`);
    if (response.ok) learn(await response.json());
  } catch { /* next time */ }
}

function toEnd() {
  end.scrollIntoView({ block: "end" });
}

function setUpFollow() {
  const button = byId("log-follow");
  button.hidden = !("follow" in panel.dataset); // a log that has ended has no end to follow
  const set = (on) => {
    following = on;
    button.setAttribute("aria-pressed", String(on));
    if (on) toEnd();
  };
  button.addEventListener("click", () => set(!following));
  // Whoever scrolls up wants to read: stop following, as terminals do.
  addEventListener("wheel", (event) => { if (event.deltaY < 0 && following) set(false); }, { passive: true });
  addEventListener("touchmove", () => { if (following) set(false); }, { passive: true });
  if (location.hash === "#end") { toEnd(); if ("follow" in panel.dataset) set(true); }
}

// ---- how lines look

function kept(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(name);
    localStorage.setItem(name, value);
  } catch { /* not kept */ }
  return null;
}

function setUpWrap() {
  const button = byId("log-wrap");
  const set = (on) => {
    view.keepPlace(() => panel.classList.toggle("wraps", on));
    button.setAttribute("aria-pressed", String(on));
    kept("wrap", on ? "yes" : "no");
    view.soon();
  };
  set(kept("wrap") !== "no");
  button.addEventListener("click", () => set(!panel.classList.contains("wraps")));
}

/** Nothing, the time since the start, the time of day, and from the beginning. */
function setUpTimes() {
  const button = byId("log-times"), ways = ["", "since", "clock"];
  button.hidden = !panel.dataset.began;
  let way = button.hidden ? 0 : Math.max(0, ways.indexOf(kept("times") ?? ""));
  const set = () => {
    view.keepPlace(() => {
      panel.classList.toggle("times", way > 0);
      panel.classList.toggle("clock", way === 2);
    });
    button.setAttribute("aria-pressed", String(way > 0));
    button.textContent = ["Times", "Times: since start", "Times: of day"][way];
  };
  button.addEventListener("click", () => {
    way = (way + 1) % ways.length;
    kept("times", ways[way]);
    set();
  });
  if (way) set();
}

function clock(since) {
  const seconds = since.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return new Date(began + seconds * 1000).toLocaleTimeString([], { hour12: false });
}

// ---- links to lines

/** Shift-click on a second line number picks a range, as #L3-L9, which can be sent to others. */
function setUpPicking() {
  log.addEventListener("click", (event) => {
    const anchor = event.target.closest?.(".line > a");
    const first = /^#L(\d+)/.exec(location.hash);
    if (!anchor || !event.shiftKey || !first) return;
    event.preventDefault();
    const [low, high] = [Number(first[1]), Number(anchor.dataset.n)].sort((a, b) => a - b);
    history.replaceState(null, "", `#L${low}-L${high}`);
    pick(false);
  });
  byId("log-copy").addEventListener("click", copy);
  addEventListener("hashchange", () => pick(true));
  pick(true);
}

async function pick(moves) {
  for (const line of log.querySelectorAll(".picked")) line.classList.remove("picked");
  const range = /^#L(\d{1,12})(?:-L(\d{1,12}))?$/.exec(location.hash);
  picked = range && [Number(range[1]), Number(range[2] ?? range[1])];
  byId("log-copy").hidden = !picked;
  if (!picked) return;
  for (const line of log.querySelectorAll(".line")) decorate(line, number(line));
  const [low] = picked, line = view.line(low);
  if (moves || !line) await show(low);
}

async function copy() {
  const button = byId("log-copy");
  try {
    const lines = `from=${picked[0]}&to=${picked[1]}`;
    const response = await fetch(`${panel.dataset.base}/text?${lines}${view.at()}`);
    await write(await response.text());
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not copied";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

/** Browsers have a clipboard for pages over TLS only; elsewhere there is the older way. */
async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  panel.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function setUpOutline() {
  panel.querySelector(".log-outline")?.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-line]");
    if (!link) return;
    event.preventDefault();
    location.hash = `#L${link.dataset.line}`;
  });
}

// ---- searching

function setUpSearch() {
  const input = byId("log-q");
  let timer = 0;
  const start = () => {
    clearTimeout(timer);
    if (!input.value) return search.forget();
    const flags = ["regex", "case"].filter((name) => byId(`log-${name}`).getAttribute("aria-pressed") === "true");
    search.start([`q=${encodeURIComponent(input.value)}`, ...flags].join("&"), "");
  };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(start, 200); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); search.done || search.lines.length ? jump(event.shiftKey ? -1 : 1) : start(); }
    if (event.key === "Escape") { input.value = ""; start(); input.blur(); }
  });
  for (const name of ["regex", "case"]) {
    byId(`log-${name}`).addEventListener("click", ({ currentTarget }) => {
      currentTarget.setAttribute("aria-pressed", String(currentTarget.getAttribute("aria-pressed") !== "true"));
      start();
    });
  }
  byId("log-next").addEventListener("click", () => jump(1));
  byId("log-previous").addEventListener("click", () => jump(-1));
  byId("log-error").addEventListener("click", () => jumpToError(1));
}

/** To the next match of the search; without one, to the next line that tells of a failure. */
export function jump(step) {
  if (!panel) return;
  if (byId("log-q").value && search.query && search.query !== "failures") search.move(step);
  else jumpToError(step);
}

/** To the next line that tells of a failure; this takes the place of a search. */
export function jumpToError(step) {
  if (!panel) return;
  if (search.query === "failures") return search.move(step);
  byId("log-q").value = "";
  search.start("failures", "error ", step);
}
