// Everything here is an extra: the pages can be read and used without it.

import { startClock } from "./clock.js";
import { startKeys } from "./keys.js";
import { refresh, startLive } from "./live.js";
import { startLog } from "./log.js";

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this page only */ }
}

function startTheme() {
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", toggleTheme);
}

/** Search while typing: the address changes with it, so that it can be kept and sent. */
function startFilters() {
  let timer = 0;
  document.addEventListener("input", (event) => {
    const form = event.target.closest("[data-filters]");
    if (!form) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      const query = new URLSearchParams(new FormData(form));
      for (const [name, value] of [...query]) if (!value) query.delete(name);
      history.replaceState(null, "", `?${query}`);
      refresh();
    }, 150);
  });
}

/** The tab of this page, where not all of them fit into the window. */
function showTab() {
  const tab = document.querySelector(".tabs [aria-current]");
  const row = tab?.closest("ul");
  if (!row || row.scrollWidth <= row.clientWidth) return;
  const [frame, place] = [row.getBoundingClientRect(), tab.getBoundingClientRect()];
  row.scrollLeft += place.left + place.width / 2 - frame.left - frame.width / 2;
}

/** Begin where it hurts: a large picture is scrolled to its first failure. */
function showFailure() {
  const pane = document.getElementById("graph");
  const node = pane?.querySelector(".s-failure, .s-error");
  if (!node || pane.scrollWidth <= pane.clientWidth) return;
  const [frame, place] = [pane.getBoundingClientRect(), node.getBoundingClientRect()];
  pane.scrollLeft += place.left + place.width / 2 - frame.left - frame.width / 2;
  pane.scrollTop += place.top + place.height / 2 - frame.top - frame.height / 2;
}

/** Pictures of pipelines, in a few sizes; kept on the root, where no refresh takes it away. */
function startZoom() {
  const root = document.documentElement;
  document.addEventListener("click", (event) => {
    const by = Number(event.target.closest?.("[data-zoom-by]")?.dataset.zoomBy ?? 0);
    if (by) root.dataset.zoom = Math.min(1, Math.max(-3, Number(root.dataset.zoom ?? 0) + by));
  });
}

/** Links to another view of the same page: taken over in place, so that scroll and focus stay. */
function startInPlace() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-in-place]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    history.pushState(null, "", link.href.baseVal ?? link.href);
    refresh();
  });
  addEventListener("popstate", () => { if (document.getElementById("graph")) refresh(); });
}

startTheme();
startZoom();
startInPlace();
showTab();
showFailure();
startFilters();
startClock();
startKeys(toggleTheme);
startLog();
startLive();
document.documentElement.dataset.scripted = ""; // from now on keys are heard
