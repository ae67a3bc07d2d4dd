// Single keys for what hands do often. They can be switched off (WCAG 2.2, 2.1.4), and do nothing
// while somebody types.

import { jump, jumpToError } from "./log.js";

const help = document.getElementById("help");

export function startKeys(toggleTheme) {
  for (const id of ["keys", "keys-foot"]) {
    const button = document.getElementById(id);
    button.hidden = false;
    button.addEventListener("click", () => help.showModal());
  }
  const on = document.getElementById("keys-on");
  try { on.checked = localStorage.getItem("keys") !== "off"; } catch { /* on, then */ }
  on.addEventListener("change", () => {
    try { localStorage.setItem("keys", on.checked ? "on" : "off"); } catch { /* not kept */ }
  });
  document.addEventListener("keydown", (event) => {
    if (!on.checked || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) return;
    if (act(event.key, toggleTheme)) event.preventDefault();
  });
}

/** Where `g` and a letter lead. */
const PLACES = { o: "/", p: "/pr", b: "/branch", t: "/tag", r: "/pools" };
const PATIENCE = 1500; // milliseconds between the two
let going = 0;

function act(key, toggleTheme) {
  if (going && Date.now() - going < PATIENCE) {
    going = 0;
    if (PLACES[key]) { location.href = PLACES[key]; return true; }
  }
  going = key === "g" ? Date.now() : 0;
  switch (key) {
    case "g": return true;
    case "[": return turn("prev");
    case "]": return turn("next");
    case "?": help.showModal(); return true;
    case "/": document.querySelector("[data-key='/']")?.focus(); return true;
    case "t": toggleTheme(); return true;
    case "u": return up();
    case "j": return step(1);
    case "k": return step(-1);
    case "n": jump(1); return true;
    case "p": case "N": jump(-1); return true;
    case "e": jumpToError(1); return true;
    case "E": jumpToError(-1); return true;
    case "i": document.getElementById("log-times")?.click(); return true;
    case "z": document.getElementById("log-fold")?.click(); return true;
    case "f": document.getElementById("log-follow")?.click(); return true;
    case "w": document.getElementById("log-wrap")?.click(); return true;
    default: return false;
  }
}

function turn(way) {
  const link = document.querySelector(`.pager a[rel="${way}"], .turns a[rel="${way}"]`);
  link?.click();
  return Boolean(link);
}

function up() {
  const crumbs = document.querySelectorAll(".crumbs a");
  location.href = crumbs.length > 1 ? crumbs[crumbs.length - 2].href : "/";
  return true;
}

const ROWS = ".tile-link, .alarm-name, .target-name, .row-link, .fall-name";

function step(by) {
  const rows = [...document.querySelectorAll(ROWS)];
  if (!rows.length) return false;
  const now = rows.indexOf(document.activeElement);
  const next = now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, now + by));
  rows[next].focus();
  return true;
}
