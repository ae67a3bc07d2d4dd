// Keeps the page up to date: listens for changes, asks for the page again, morphs what is marked
// data-live. Says so when the connection is lost, and heals by itself.

import { setClock } from "./clock.js";
import { morphKeepingFocus } from "./morph.js";

const SILENCE = 35_000; // twice the server's heartbeat and a bit
const SLEEP = 20_000; // no timer of a page that is awake and visible is as late as that
const link = document.getElementById("link");
/** A page of the past does not change. */
export const isPast = "past" in document.documentElement.dataset;
const stale = document.getElementById("stale");
const news = document.getElementById("news");

let loading = false, again = false;

function show(state, title) {
  link.hidden = false;
  link.dataset.state = link.textContent = state;
  link.title = title;
}

/** Fetch this page anew and take over what changed. */
export async function refresh(address = location.href) {
  if (loading) { again = true; return; }
  loading = true;
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (response.ok || response.status === 404) apply(await response.text(), response);
  } catch { /* offline: the stream says so, and its return refreshes */ }
  loading = false;
  if (again) { again = false; refresh(); }
}

function apply(html, response) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  setClock(response.headers.get("Date"));
  const main = document.getElementById("live");
  if (!main || !fresh.getElementById("live")) return location.reload();
  const summary = main.dataset.summary;
  for (const old of document.querySelectorAll("[data-live]")) {
    const region = fresh.getElementById(old.id);
    if (region) morphKeepingFocus(old, document.adoptNode(region));
  }
  document.title = fresh.title;
  const icon = document.getElementById("favicon");
  const wanted = fresh.getElementById("favicon")?.getAttribute("href");
  if (wanted && icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
  if (summary !== main.dataset.summary) news.textContent = main.dataset.summary;
  document.dispatchEvent(new CustomEvent("page-refreshed"));
}

/**
 * Keep a stream open while the page is visible (a browser allows six connections per server, and
 * people have many tabs). `open` makes the EventSource, or gives null when it is not needed;
 * `refused` is called when the server answers something else.
 */
export function keepStream(open, onLost, onBack, refused) {
  let source = null, timer = 0, lost = false;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => { close(); connect(); fail(); }, SILENCE);
    if (lost) { lost = false; onBack(); }
  };
  const fail = () => { if (!lost) { lost = true; onLost(); } };
  const close = () => { clearTimeout(timer); source?.close(); source = null; };
  const connect = () => {
    if (source || document.hidden) return;
    source = open(alive, close);
    if (!source) return;
    source.addEventListener("open", alive);
    source.addEventListener("ping", alive);
    source.addEventListener("error", () => {
      const closed = source?.readyState === EventSource.CLOSED;
      setTimeout(() => { if (source?.readyState !== EventSource.OPEN && !document.hidden) fail(); }, 1500);
      if (closed) { close(); refused?.(); setTimeout(connect, 3000); }
    });
  };
  // After a sleep, and on another network, a connection only looks open: nobody is at its other end.
  const anew = () => { if (source) { close(); connect(); } };
  let awake = Date.now();
  setInterval(() => {
    const now = Date.now(), slept = now - awake > SLEEP;
    awake = now;
    if (slept) anew();
  }, SLEEP / 4);
  addEventListener("online", anew);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : connect()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", connect);
  connect();
}

export function startLive() {
  if (isPast || !document.querySelector("[data-live]")) return;
  let timer = 0;
  const soon = () => { clearTimeout(timer); timer = setTimeout(refresh, 60); };
  keepStream(
    (alive) => {
      const source = new EventSource("/events");
      source.addEventListener("open", () => {
        show("live", "This page follows changes");
      });
      source.addEventListener("targets", () => { alive(); soon(); });
      return source;
    },
    () => {
      show("lost", "This page does not follow changes at present");
      stale.hidden = false;
    },
    () => { stale.hidden = true; },
    refresh, // who has been logged out is led to where one logs in
  );
}
