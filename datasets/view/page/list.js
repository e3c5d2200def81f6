// The episode list: filters, order, and only as many rows in the document as fit on the screen.

import { $, el, seconds, whole } from "./util.js";

const HEIGHT = 46;
const FILTERS = ["search", "task", "success", "mask", "drops", "shortest", "longest", "sort"];

export class EpisodeList {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.columns = null;
    this.shown = [];
    this.current = null;
    this.ascending = true;
    for (const id of FILTERS) $(id).addEventListener("input", () => this.filter());
    $("direction").addEventListener("click", () => {
      this.ascending = !this.ascending;
      $("direction").textContent = this.ascending ? "↑" : "↓";
      this.filter();
    });
    $("scroller").addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe($("scroller"));
  }

  setColumns(columns) {
    this.columns = columns;
    options($("task"), [["", "any task"], ...columns.tasks.map((text, k) => [String(k), text || "(no task)"])]);
    this.setMasks(columns.masks);
  }

  setMasks(masks) {
    this.columns.masks = masks;
    this.members = Object.fromEntries(Object.entries(masks).map(([name, ranges]) => [name, new Set(ranges.flatMap(
      ([start, stop]) => Array.from({ length: stop - start }, (_, k) => start + k)))]));
    const names = Object.keys(masks);
    options($("mask"), [["", "any mask"], ...names.map((n) => [`+${n}`, `in ${n}`]), ...names.map((n) => [`-${n}`, `not in ${n}`])]);
    this.filter();
  }

  // An episode's labels were edited.
  update(index, labels) {
    const columns = this.columns, task = labels.task ?? "";
    let k = columns.tasks.indexOf(task);
    if (k < 0) k = columns.tasks.push(task) - 1;
    columns.task[index] = k;
    columns.success[index] = labels.success;
    if (labels.notes) columns.notes[index] = labels.notes; else delete columns.notes[index];
    const chosen = $("task").value;
    options($("task"), [["", "any task"], ...columns.tasks.map((text, i) => [String(i), text || "(no task)"])]);
    $("task").value = chosen;
    this.filter();
  }

  filter() {
    const c = this.columns, words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const task = $("task").value, success = $("success").value, mask = $("mask").value, drops = $("drops").checked;
    const low = parseFloat($("shortest").value), high = parseFloat($("longest").value);
    const texts = c.tasks.map((text) => text.toLowerCase());
    const members = mask && this.members[mask.slice(1)];
    const shown = [];
    for (let i = 0; i < c.steps.length; i++) {
      if (task && c.task[i] !== +task) continue;
      if (success && String(c.success[i]) !== success) continue;
      if (members && members.has(i) !== (mask[0] === "+")) continue;
      if (drops && !c.dropped[i] && !c.late[i]) continue;
      if (c.duration[i] < low || c.duration[i] > high) continue;
      if (words.length) {
        const text = `${texts[c.task[i]]} ${c.notes[i]?.toLowerCase() ?? ""} #${i}`;
        if (!words.every((word) => text.includes(word))) continue;
      }
      shown.push(i);
    }
    const key = $("sort").value, sign = this.ascending ? 1 : -1;
    const value = key === "index" ? (i) => i : key === "tasks" ? (i) => texts[c.task[i]] : (i) => c[key][i] ?? -1;
    if (key !== "index" || sign < 0) {
      shown.sort((a, b) => { const x = value(a), y = value(b); return sign * (x < y ? -1 : x > y ? 1 : 0) || a - b; });
    }
    this.shown = shown;
    $("count").textContent = `${whole(shown.length)} of ${whole(c.steps.length)} episodes`;
    $("rows").style.height = `${shown.length * HEIGHT}px`;
    this.draw();
    this.onFilter?.();
  }

  draw() {
    if (!this.columns) return;
    const scroller = $("scroller"), first = Math.max(0, Math.floor(scroller.scrollTop / HEIGHT) - 4);
    const count = Math.ceil(scroller.clientHeight / HEIGHT) + 8;
    $("rows").replaceChildren(...this.shown.slice(first, first + count).map((i, k) => this.row(i, first + k)));
  }

  row(i, place) {
    const c = this.columns, dot = el("span", { className: "dot" + ({ true: " yes", false: " no" }[c.success[i]] ?? "") });
    dot.title = { true: "success", false: "failure" }[c.success[i]] ?? "not labelled";
    const more = el("span", { className: "more" }, `${seconds(c.duration[i])} · ${whole(c.steps[i])} steps`);
    if (c.dropped[i]) more.append(" · ", el("span", { className: "warn" }, `${whole(c.dropped[i])} dropped`));
    if (c.late[i]) more.append(" · ", el("span", { className: "warn" }, `${whole(c.late[i])} late`));
    for (const [name, set] of Object.entries(this.members)) if (set.has(i)) more.append(" ", el("span", { className: "tag" }, name));
    if (c.notes[i]) more.append(` · ${c.notes[i]}`);
    const row = el("div", { className: `row${i === this.current ? " on" : ""}`, role: "option", title: c.tasks[c.task[i]] },
      el("b", {}, `#${i}`), el("span", { className: "what" }, c.tasks[c.task[i]] || "(no task)"), dot, more);
    row.dataset.episode = i;
    row.ariaSelected = i === this.current;
    row.style.top = `${place * HEIGHT}px`;
    row.addEventListener("click", () => this.onOpen(i));
    return row;
  }

  select(index) {
    this.current = index;
    const scroller = $("scroller"), place = this.shown.indexOf(index) * HEIGHT;
    if (place >= 0 && (place < scroller.scrollTop || place + HEIGHT > scroller.scrollTop + scroller.clientHeight)) {
      scroller.scrollTop = place - scroller.clientHeight / 2;
    }
    this.draw();
  }

  // The shown episode `by` places after the current one.
  neighbour(by) {
    const place = this.shown.indexOf(this.current);
    if (place < 0) return this.shown.find((i) => i > this.current) ?? this.shown[0];
    return this.shown[place + by];
  }
}

function options(select, pairs) {
  const chosen = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}
