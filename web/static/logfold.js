// Sections of a log: each heading gets a button that hides the lines under it.

export class Folds {
  constructor(view, button) {
    this.view = view;
    this.button = button;
    this.sections = [];
    this.heads = new Map();
    this.folded = new Set();
    button.addEventListener("click", () => this.all(!this.folded.size));
  }

  /** Learn the sections: [heading, last line or null, title, depth] each. */
  learn(sections) {
    if (sections.length === this.sections.length && sections.every((s, i) => s[1] === this.sections[i][1])) return;
    this.sections = sections;
    this.heads = new Map(sections.map((section) => [section[0], section]));
    this.button.hidden = !sections.some((section) => this.end(section) > section[0]);
    for (const [n] of this.heads) {
      const line = this.view?.line(n);
      if (line) this.decorate(line, n);
    }
    if (this.folded.size) this.apply();
  }

  end([, last]) { return last ?? this.view?.total ?? Infinity; }

  decorate(line, n) {
    const section = this.heads.get(n);
    if (!section || line.querySelector(".fold") || this.end(section) <= n) return;
    line.classList.add("head");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "fold";
    button.setAttribute("aria-expanded", String(!this.folded.has(n)));
    button.setAttribute("aria-label", `Lines of ${section[2] || "this section"}`);
    button.addEventListener("click", () => this.toggle(n));
    line.querySelector("a").after(button);
  }

  toggle(n, fold = !this.folded.has(n)) {
    if (fold) this.folded.add(n); else this.folded.delete(n);
    this.apply();
  }

  all(fold) {
    this.folded = new Set(fold ? this.sections.filter((s) => this.end(s) > s[0]).map((s) => s[0]) : []);
    this.apply();
  }

  /** Unfold what hides a line. */
  reveal(n) {
    const hiding = [...this.folded].filter((head) => head < n && n <= this.end(this.heads.get(head)));
    for (const head of hiding) this.folded.delete(head);
    if (hiding.length) this.apply();
  }

  apply() {
    const ranges = [];
    for (const section of this.sections) {
      if (!this.folded.has(section[0]) || section[0] < (ranges.at(-1)?.[1] ?? 0)) continue;
      ranges.push([section[0] + 1, this.end(section)]);
    }
    this.view.hide(ranges);
    for (const button of document.querySelectorAll(".line .fold")) {
      const n = Number(button.closest(".line").id.slice(1));
      button.setAttribute("aria-expanded", String(!this.folded.has(n)));
    }
    this.button.setAttribute("aria-pressed", String(this.folded.size > 0));
    this.button.textContent = this.folded.size ? "Unfold" : "Fold";
  }
}
