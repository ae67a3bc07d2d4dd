// Searches of the whole log, which the server makes and tells the results of as it finds them.

const SHOWN = new Intl.NumberFormat("en");

/** A list of lines that match, and the one among them where the reader is. */
export class LogSearch {
  constructor(panel, view, go) {
    Object.assign(this, { panel, view, go });
    this.place = document.getElementById("log-hits");
    this.forget();
  }

  forget() {
    this.stop?.abort();
    this.lines = [];
    this.matching = new Set();
    this.here = 0;
    this.query = this.done = this.noun = "";
    for (const line of document.querySelectorAll(".line.hit")) line.classList.remove("hit", "here");
    this.tell();
  }

  decorate(line, n) {
    if (this.matching.has(n)) line.classList.add("hit");
    if (n === this.here) line.classList.add("here");
  }

  /** Look for something; `step` says whether to go to the first match from here, or the last. */
  async start(query, noun, step = 1) {
    this.forget();
    this.query = query;
    this.noun = noun;
    this.stop = new AbortController();
    const from = this.where();
    this.tell("searching…");
    try {
      const at = this.view.at();
      const response = await fetch(`${this.panel.dataset.base}/search?${query}${at}`, { signal: this.stop.signal });
      if (!response.ok) return this.tell(await why(response));
      for await (const part of parts(response)) this.take(part, query, from, step);
    } catch (error) {
      if (error.name !== "AbortError" && this.query === query) this.tell("the search was cut short");
    }
  }

  take(part, query, from, step) {
    if (this.query !== query) return;
    for (const n of part.lines) {
      this.lines.push(n);
      this.matching.add(n);
      this.view.line(n)?.classList.add("hit");
    }
    this.done = part.done ?? "";
    if (!this.here && this.lines.length && (step > 0 ? this.lines.at(-1) >= from || this.done : this.done)) {
      this.move(step, from);
    } else {
      this.tell(this.done ? "" : `${Math.round((100 * part.offset) / (part.size || 1))} %`);
    }
  }

  /** The line that the reader is at: what is picked or in the middle of the window. */
  where() {
    const picked = /^#L(\d+)/.exec(location.hash);
    const spot = this.view.spot();
    return this.here || (picked && Number(picked[1])) || (spot && spot.n > 1 ? spot.n : 1);
  }

  move(step, from = null) {
    if (!this.lines.length) return;
    const at = from ?? this.here;
    let index = this.lines.findIndex((n) => (from === null ? n > at : n >= at));
    if (index < 0) index = from === null || step < 0 ? this.lines.length : 0;
    if (step < 0) index = this.lines.findLastIndex((n) => n < at);
    index = ((index % this.lines.length) + this.lines.length) % this.lines.length;
    this.view.line(this.here)?.classList.remove("here");
    this.here = this.lines[index];
    this.tell();
    this.go(this.here);
  }

  tell(text = "") {
    const count = this.lines.length;
    const more = this.done && this.done !== "end" ? "+" : "";
    const index = this.lines.indexOf(this.here) + 1;
    const found = count ? `${this.noun}${SHOWN.format(index)} of ${SHOWN.format(count)}${more}` : "";
    this.place.textContent = found || text || (this.done ? `no ${this.noun.trim() || "match"}` : "");
  }
}

async function why(response) {
  if (response.status === 400) {
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const lead = page.querySelector("main .lead")?.textContent.trim();
    return /expression: (.*)/.exec(lead ?? "")?.[1] ?? "no such expression";
  }
  return response.status === 503 ? "the server is busy; try again soon" : "the search failed";
}

async function* parts(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
