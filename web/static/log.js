// The log of a build: lines as they are written, following the end, wrapping, searching.

import { isPast, keepStream, refresh } from "./live.js";

const panel = document.getElementById("log-panel");
const log = document.getElementById("log");
const partial = document.getElementById("partial");
const end = document.getElementById("end");

let following = false, cursor = panel?.dataset.end, done = false;

export function startLog() {
  if (!panel) return;
  for (const element of panel.querySelectorAll("[data-script]")) element.hidden = false;
  setUpWrap();
  setUpFollow();
  setUpSearch();
  setUpPicking();
  if ("follow" in panel.dataset && !isPast) listen();
}

function listen() {
  keepStream(
    (alive, close) => {
      if (done) return null;
      const source = new EventSource(`${panel.dataset.events}?from=${encodeURIComponent(cursor)}`);
      source.addEventListener("lines", (event) => {
        alive();
        cursor = event.lastEventId;
        append(JSON.parse(event.data));
      });
      source.addEventListener("waits", (event) => {
        alive();
        const note = document.getElementById("log-empty");
        if (note) note.textContent = JSON.parse(event.data);
      });
      source.addEventListener("end", () => {
        done = true;
        close();
        refresh();
      });
      return source;
    },
    () => {},
    () => {},
  );
}

function append({ lines, partial: rest }) {
  document.getElementById("log-empty")?.remove();
  if (lines) {
    const chunk = document.createElement("div");
    chunk.className = "chunk";
    chunk.innerHTML = lines; // made by ansi.py, which escapes everything
    log.insertBefore(chunk, partial);
    trim();
  }
  partial.innerHTML = rest;
  if (following) toEnd();
}

/** A page left open for days must not grow for ever. */
function trim() {
  const most = Number(panel.dataset.page) * 2;
  while (log.children.length > 2 && log.querySelectorAll(".line").length > most) {
    log.firstElementChild.remove();
  }
}

function toEnd() {
  end.scrollIntoView({ block: "end" });
}

function setUpFollow() {
  const button = document.getElementById("log-follow");
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
  if (location.hash === "#end" && "follow" in panel.dataset) set(true);
}

function setUpWrap() {
  const button = document.getElementById("log-wrap");
  const set = (on) => {
    panel.classList.toggle("wraps", on);
    button.setAttribute("aria-pressed", String(on));
    try { localStorage.setItem("wrap", on ? "yes" : "no"); } catch { /* not kept */ }
  };
  let wanted = null;
  try { wanted = localStorage.getItem("wrap"); } catch { /* not known */ }
  set(wanted !== "no");
  button.addEventListener("click", () => set(!panel.classList.contains("wraps")));
}

/** Shift-click on a second line number picks a range, as #L3-L9, which can be sent to others. */
function setUpPicking() {
  log.addEventListener("click", (event) => {
    const anchor = event.target.closest?.(".line > a");
    const first = /^#L(\d+)/.exec(location.hash);
    if (!anchor || !event.shiftKey || !first) return;
    event.preventDefault();
    const [low, high] = [Number(first[1]), Number(anchor.dataset.n)].sort((a, b) => a - b);
    history.replaceState(null, "", `#L${low}-L${high}`);
    pick();
  });
  addEventListener("hashchange", pick);
  pick();
}

function pick() {
  for (const line of log.querySelectorAll(".picked")) line.classList.remove("picked");
  const range = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
  if (!range) return;
  const low = Number(range[1]), high = Number(range[2] ?? range[1]);
  const first = document.getElementById(`L${low}`);
  if (!first) return elsewhere(low);
  for (let n = low; n <= high && n < low + 10_000; n++) {
    document.getElementById(`L${n}`)?.classList.add("picked");
  }
  if (range[2]) first.scrollIntoView({ block: "center" });
}

/** The line is not on this page: go to the page that has it. */
function elsewhere(line) {
  const shown = Number(log.querySelector(".line > a")?.dataset.n ?? 1);
  if (line < shown) location.href = `?from=${Math.max(1, line - 50)}${location.hash}`;
}

let hits = [], here = -1;

function setUpSearch() {
  const input = document.getElementById("log-q");
  let timer = 0;
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => find(input.value), 120); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); jump(event.shiftKey ? -1 : 1); }
    if (event.key === "Escape") { input.value = ""; find(""); input.blur(); }
  });
}

function find(text) {
  for (const line of hits) line.classList.remove("hit", "here");
  const wanted = text.trim().toLowerCase();
  const lines = wanted ? [...log.querySelectorAll(".line")] : [];
  hits = lines.filter((line) => line.textContent.toLowerCase().includes(wanted));
  for (const line of hits) line.classList.add("hit");
  here = -1;
  tell(wanted);
  if (hits.length) jump(1);
}

function tell(wanted) {
  const place = document.getElementById("log-hits");
  place.textContent = !wanted ? "" : hits.length ? `${here + 1} of ${hits.length}` : "no match";
}

const ERROR = /error|failed|failure|fatal|panic|traceback|exception/i;
const FINE = /\b(0|no) (error|failure|failed)/i;

const looksBad = ({ textContent }) => ERROR.test(textContent) && !FINE.test(textContent);

/** To the next match of the search; without one, to the next line that looks like an error. */
export function jump(step) {
  if (!log) return;
  if (!document.getElementById("log-q").value.trim() && !hits.length) {
    hits = [...log.querySelectorAll(".line")].filter(looksBad);
  }
  if (!hits.length) return;
  hits[here]?.classList.remove("here");
  here = here < 0 && step < 0 ? hits.length - 1 : (here + step + hits.length) % hits.length;
  hits[here].classList.add("hit", "here");
  hits[here].scrollIntoView({ block: "center" });
  tell("something");
}
