// The lines of a log that are in sight, of any number of lines: the rest are empty boxes of about
// the right height, which are filled when they come near and emptied when they are far away.

const CHUNK = 200;       // lines in a box
const AHEAD = 1.5;       // screens that are filled before they are in sight
const KEPT = 12;         // boxes on either side that stay filled
const TALLEST = 12e6;    // pixels; browsers end at 17 to 33 million, so that boxes of longer logs are flatter
const BATCH = 5;         // boxes that are asked for at once

/** The boxes. `decorate` is called with every line that appears, `learn` with every answer. */
export class LogView {
  constructor(panel, log, partial, { decorate, learn }) {
    Object.assign(this, { panel, log, partial, decorate, learn });
    this.total = 0;
    this.row = 20;
    this.boxes = [];
    this.hidden = [];      // ranges of lines that are folded away: sorted, apart from each other
    this.busy = false;
    this.again = false;
    this.adopt(Number(panel.dataset.total));
    addEventListener("scroll", () => this.soon(), { passive: true });
    addEventListener("resize", () => { this.measure(); this.soon(); }, { passive: true });
    this.soon();
  }

  /** Take over what the server has put on the page. */
  adopt(total) {
    const lines = [...this.log.querySelectorAll(".chunk:not(#partial) > .line")];
    const old = this.log.querySelectorAll(".chunk:not(#partial)");
    this.hasPartial = this.partial.childElementCount > 0;
    this.grow(total - (this.hasPartial ? 1 : 0));
    this.place(lines);
    for (const chunk of old) chunk.remove();
    for (const line of this.partial.children) this.decorate(line, number(line));
    this.measure();
  }

  /** There are so many finished lines now. */
  grow(total) {
    this.total = Math.max(this.total, total);
    this.panel.classList.add(`digits-${String(this.total).length}`);
    while (this.boxes.length * CHUNK < this.total) {
      const element = document.createElement("div");
      element.className = "chunk box";
      this.log.insertBefore(element, this.partial);
      this.boxes.push({ element, have: 0 });
    }
  }

  first(index) { return index * CHUNK + 1; }
  last(index) { return Math.min(this.total, (index + 1) * CHUNK); }
  index(line) { return Math.floor((line - 1) / CHUNK); }
  isFull(index) { return this.boxes[index].have === this.last(index) - this.first(index) + 1; }
  line(n) { return document.getElementById(`L${n}`); }

  /** Put lines where they belong, if they go on from what is there. */
  place(lines) {
    for (const line of lines) {
      const n = number(line), box = this.boxes[this.index(n)];
      if (!box || n !== this.first(this.index(n)) + box.have) continue;
      box.have++;
      box.element.append(line);
      line.hidden = this.isHidden(n);
      this.decorate(line, n);
    }
    this.shape();
  }

  /** Heights of boxes that are not full. */
  shape() {
    const flat = Math.min(1, TALLEST / (this.total * this.row || 1));
    for (let index = 0; index < this.boxes.length; index++) {
      const box = this.boxes[index], full = this.isFull(index);
      const rows = full ? 0 : this.shown(this.first(index), this.last(index));
      const height = full ? "" : `${Math.max(rows ? 1 : 0, rows * this.row * flat)}px`;
      if (box.height !== height) box.element.style.height = box.height = height;
      box.element.classList.toggle("full", full);
    }
  }

  measure() {
    const line = this.log.querySelector(".line:not([hidden]) > a");
    if (line) this.row = parseFloat(getComputedStyle(this.log).lineHeight) || 20;
    this.shape();
  }

  // ---- folding

  isHidden(n) { return this.hidden.some(([first, last]) => first <= n && n <= last); }

  /** How many of these lines are not folded away. */
  shown(first, last) {
    let count = last - first + 1;
    for (const [low, high] of this.hidden) {
      count -= Math.max(0, Math.min(high, last) - Math.max(low, first) + 1);
    }
    return count;
  }

  hide(ranges) {
    this.keepPlace(() => {
      this.hidden = ranges;
      for (const line of this.log.querySelectorAll(".box > .line")) line.hidden = this.isHidden(number(line));
      this.shape();
    });
    this.soon();
  }

  // ---- filling and emptying

  soon() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.update(); });
  }

  /** The boxes that are in sight, or will be soon: [first, last]. */
  near() {
    const margin = innerHeight * AHEAD;
    const low = this.search((box) => box.element.getBoundingClientRect().bottom > -margin);
    const high = this.search((box) => box.element.getBoundingClientRect().top > innerHeight + margin);
    return [low, Math.max(low, high - 1)];
  }

  /** The first box for which something holds that holds for all after it. */
  search(holds) {
    let low = 0, high = this.boxes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(this.boxes[middle])) high = middle; else low = middle + 1;
    }
    return low;
  }

  wants(index) {
    return index < this.boxes.length && !this.isFull(index) && this.shown(this.first(index), this.last(index)) > 0;
  }

  async update() {
    if (!this.boxes.length) return;
    const [low, high] = this.near();
    this.empty(low, high);
    if (this.busy) { this.again = true; return; }
    const middle = this.search((box) => box.element.getBoundingClientRect().bottom > innerHeight / 2);
    const missing = [];
    for (let index = low; index <= high && index < this.boxes.length; index++) if (this.wants(index)) missing.push(index);
    if (!missing.length) return;
    missing.sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
    let [from, to] = [missing[0], missing[0]];
    while (to - from + 1 < BATCH && to < high && this.wants(to + 1)) to++;
    while (to - from + 1 < BATCH && from > low && this.wants(from - 1)) from--;
    await this.load(from, to);
  }

  /** Ask for boxes and fill them; says whether that went well. */
  async load(from, to) {
    this.busy = true;
    let filled = false;
    try {
      const lines = `from=${this.first(from)}&to=${this.last(to)}`;
      const response = await fetch(`${this.panel.dataset.base}/lines?${lines}${this.at()}`);
      if (response.ok) filled = this.fill(from, to, await response.json());
    } catch { /* offline: the next scroll asks again */ }
    this.busy = false;
    if (this.again || filled) { this.again = false; this.soon(); }
    return filled;
  }

  at() {
    const at = this.panel.dataset.at;
    return at ? `&at=${encodeURIComponent(at)}` : "";
  }

  fill(from, to, answer) {
    const template = document.createElement("template");
    template.innerHTML = answer.html; // made by ansi.py, which escapes everything
    const lines = [...template.content.querySelectorAll(".line")];
    this.keepPlace(() => {
      for (let index = from; index <= to; index++) {
        this.boxes[index].element.replaceChildren();
        this.boxes[index].have = 0;
      }
      this.place(lines);
    });
    this.learn(answer);
    return lines.length > 0;
  }

  /** Empty boxes that are far from what is seen, unless something in them is selected or has the focus. */
  empty(low, high) {
    const selection = getSelection();
    let changed = false;
    for (let index = 0; index < this.boxes.length; index++) {
      const box = this.boxes[index];
      if (!box.have || (index >= low - KEPT && index <= high + KEPT)) continue;
      if (box.element.contains(document.activeElement)) continue;
      if (!selection.isCollapsed && selection.containsNode(box.element, true)) continue;
      if (!changed) { changed = true; this.mark = this.spot(); }
      box.element.replaceChildren();
      box.have = 0;
    }
    if (changed) { this.shape(); this.back(this.mark); }
  }

  // ---- staying where one is

  /** What is at the top of the window: a line, and how far from the top it is. */
  spot() {
    const edge = this.edge();
    const index = this.search((box) => box.element.getBoundingClientRect().bottom > edge);
    if (index >= this.boxes.length) return null;
    const { element, have } = this.boxes[index], box = element.getBoundingClientRect();
    if (box.top > innerHeight) return null;
    if (!have) {
      const part = Math.min(1, Math.max(0, (edge - box.top) / box.height));
      return { n: this.first(index) + Math.floor(part * (this.last(index) - this.first(index))), top: edge };
    }
    for (const line of element.children) {
      const place = line.getBoundingClientRect();
      if (place.height && place.bottom > edge) return { n: number(line), top: place.top };
    }
    return null;
  }

  back(spot) {
    const line = spot && this.line(spot.n);
    if (!line || line.hidden) return;
    const moved = line.getBoundingClientRect().top - spot.top;
    if (Math.abs(moved) > 0.5) scrollBy({ top: moved, behavior: "instant" });
  }

  /** Where the part of the window begins that nothing covers. */
  edge() {
    const covers = [document.querySelector(".top"), this.panel.querySelector(".log-bar")];
    return Math.max(...covers.map((element) => element.getBoundingClientRect().bottom));
  }

  keepPlace(change) {
    const spot = this.log.getBoundingClientRect().top < this.edge() ? this.spot() : null;
    change();
    this.back(spot);
  }

  /** Bring a line into the middle of the window, wherever it is. */
  async show(n) {
    if (this.hasPartial && n > this.total) { this.partial.scrollIntoView({ block: "center" }); return this.line(n); }
    const index = this.index(n);
    if (!this.boxes[index]) return null;
    if (!this.line(n)) {
      this.boxes[index].element.scrollIntoView({ block: "center" });
      for (let tries = 0; tries < 100 && this.busy; tries++) await new Promise((done) => setTimeout(done, 20));
      if (!this.line(n)) await this.load(index, index);
    }
    const line = this.line(n);
    line?.scrollIntoView({ block: "center" });
    return line;
  }

  // ---- growing

  /** Lines that have just been written; there may be others before them that were not sent. */
  append({ first, lines, partial }) {
    const template = document.createElement("template");
    template.innerHTML = lines;
    const fresh = [...template.content.querySelectorAll(".line")];
    this.partial.innerHTML = partial;
    this.hasPartial = partial !== "";
    if (fresh.length || first - 1 > this.total) {
      this.grow(first - 1 + fresh.length);
      this.place(fresh);
      this.soon();
    }
    for (const line of this.partial.children) this.decorate(line, number(line));
  }
}

export function number(line) { return Number(line.id.slice(1)); }
