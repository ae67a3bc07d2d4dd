// Ages and durations that go on counting between two states of the page.

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const two = (number) => String(number).padStart(2, "0");

/** As the server says it (wording.py): the two must agree, so that a refresh changes nothing. */
export function duration(seconds) {
  seconds = Math.max(0, seconds);
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min ${two(whole % MINUTE)} s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)} h ${two(Math.floor((whole % HOUR) / MINUTE))} min`;
  return `${Math.floor(whole / DAY)} d ${two(Math.floor((whole % DAY) / HOUR))} h`;
}

export function ago(seconds) {
  seconds = Math.floor(seconds);
  if (seconds < 5) return "just now";
  if (seconds < MINUTE) return `${seconds} s ago`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ago`;
  const days = Math.floor(seconds / DAY);
  return days < 31 ? `${days} day${days === 1 ? "" : "s"} ago` : null;
}

/** Server minus browser, in milliseconds: the two clocks need not agree. */
let skew = 0;
export function setClock(date) {
  const then = Date.parse(date);
  if (!Number.isNaN(then)) skew = then - Date.now();
}

function tick() {
  const now = Date.now() + skew;
  for (const element of document.querySelectorAll("[data-since]")) {
    put(element, duration((now - Date.parse(element.dataset.since)) / 1000));
  }
  for (const element of document.querySelectorAll("time[data-ago]")) {
    put(element, ago((now - Date.parse(element.dateTime)) / 1000));
  }
}

function put(element, text) {
  if (text !== null && element.textContent !== text) element.textContent = text;
}

export function startClock() {
  if (!("past" in document.documentElement.dataset)) setInterval(tick, 1000);
}
