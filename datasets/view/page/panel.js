// Labels, masks, timing, history and the record of the open episode.

import { $, css, el, getJson, number, painted, post, remember, remembered, whole } from "./util.js";

export class Panel {
  constructor(list, onLabels, onNext) {
    this.list = list;
    this.onLabels = onLabels;
    this.onNext = onNext;
    this.writing = Promise.resolve();
    for (const id of ["go-on", "auto-play"]) {
      $(id).checked = remembered(id) === "true";
      $(id).addEventListener("change", () => remember(id, $(id).checked));
    }
    for (const button of $("results").children) button.addEventListener("click", () => this.setSuccess(JSON.parse(button.dataset.success)));
    for (const name of ["task", "notes"]) this.wire(name, $(`edit-${name}`));
    $("new-mask").addEventListener("submit", (event) => {
      event.preventDefault();
      const input = $("new-mask").firstElementChild;
      if (input.value.trim()) this.toggleMask(input.value.trim(), true);
      input.value = "";
      input.blur();
    });
    list.onFilter = () => this.drawMaskAll();
    $("mask-all").addEventListener("click", () => this.maskAll());
  }

  wire(name, input) {
    input.addEventListener("input", () => { input.classList.add("dirty"); this.say("not saved yet", "busy"); });
    input.addEventListener("change", () => this.save({ [name]: input.value.trim() || null }));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); input.blur(); }
      if (event.key === "Escape") { input.value = this.episode.labels[name] ?? ""; input.classList.remove("dirty"); this.say(""); input.blur(); }
    });
  }

  say(text, tone = "") {
    $("saved").textContent = text;
    $("saved").className = tone;
  }

  open(episode, editable) {
    this.episode = episode;
    this.editable = editable;
    this.say("");
    for (const node of $("panel").querySelectorAll("#results button,textarea,#new-mask *")) node.disabled = !editable;
    this.draw();
    this.loadTiming(episode.index);
  }

  draw() {
    const { labels, record, history } = this.episode;
    for (const button of $("results").children) button.classList.toggle("on", JSON.parse(button.dataset.success) === (labels.success ?? null));
    for (const name of ["task", "notes"]) {
      const input = $(`edit-${name}`);
      if (document.activeElement !== input) { input.value = labels[name] ?? ""; input.classList.remove("dirty"); }
    }
    $("history").replaceChildren(...history.map((edit) => el("p", {}, what(edit), el("br"), el("small", {}, `${edit.by}, ${edit.at}`))),
      el("p", { className: "soft" }, `recorded: ${describe(this.episode.recorded_labels)}`));
    const dl = el("dl");
    for (const [name, value] of Object.entries(record)) {
      if (value === null || value === "") continue;
      dl.append(el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, typeof value === "object" ? JSON.stringify(value).slice(0, 300)
        : typeof value === "number" ? number(value) : String(value)));
    }
    $("record").replaceChildren(dl);
    this.drawMasks();
  }

  drawMasks() {
    const names = Object.keys(this.list.members);
    $("masks").replaceChildren(...names.map((name) => {
      const box = el("input", { type: "checkbox", checked: this.list.members[name].has(this.episode.index), disabled: !this.editable || name === "quarantine" });
      box.dataset.mask = name;
      box.addEventListener("change", () => { this.toggleMask(name, box.checked); box.blur(); });
      return el("label", { className: "check" }, box, name, el("small", {}, whole(this.list.members[name].size)));
    }));
    if (!names.length) $("masks").replaceChildren(el("span", { className: "soft" }, "none: a mask is a named set of episodes"));
    this.drawMaskAll();
  }

  drawMaskAll() {
    const name = this.lastMask, listed = this.list.shown.length;
    $("mask-all").hidden = !name || !this.editable;
    $("mask-all").textContent = `add the ${whole(listed)} listed to ${name}`;
  }

  // Edits go one after the other, so that the last one wins in the journal too.
  write(path, body, done) {
    this.say("saving", "busy");
    this.writing = this.writing.then(() => post(path, body)).then((answer) => { done(answer); this.say("saved ✓"); })
      .catch((error) => { this.say(`not saved: ${error.message}`, "bad"); this.drawMasks(); });
    return this.writing;
  }

  save(fields) {
    const { index } = this.episode;
    return this.write(`api/episode/${index}/labels`, fields, (answer) => {
      this.onLabels(answer);
      if (this.episode.index !== index) return;
      Object.assign(this.episode, { labels: answer.labels, history: answer.history });
      for (const name of Object.keys(fields)) if ($(`edit-${name}`)) $(`edit-${name}`).classList.remove("dirty");
      this.draw();
    });
  }

  async setSuccess(value) {
    if (!this.editable) return;
    const { index } = this.episode, next = this.list.neighbour(1);
    await this.save({ success: value });
    if ($("go-on").checked && value !== null && $("saved").className !== "bad" && this.episode.index === index && next !== undefined) this.onNext(next);
  }

  toggleMask(name, member = !this.list.members[name]?.has(this.episode.index)) {
    const { index } = this.episode;
    this.lastMask = name;
    return this.changeMask({ name, add: member ? [index] : [], remove: member ? [] : [index] });
  }

  maskAll() {
    const name = this.lastMask, add = this.list.shown.filter((i) => !this.list.members[name]?.has(i));
    if (confirm(`Add ${whole(add.length)} episodes to the mask ${name}?`)) this.changeMask({ name, add, remove: [] });
  }

  changeMask(body) {
    return this.write("api/mask", body, async (answer) => {
      this.list.setMasks(answer.masks);
      this.drawMasks();
      const { index } = this.episode, fresh = await getJson(`api/episode/${index}`);
      if (this.episode.index === index) { this.episode.history = fresh.history; this.draw(); }
    });
  }

  async loadTiming(index) {
    $("timing").replaceChildren();
    let timing;
    try { timing = await getJson(`api/episode/${index}/timing`); } catch (error) {
      if (this.episode.index === index) $("timing").replaceChildren(el("div", { className: "warn" }, error.message));
      return;
    }
    if (this.episode.index !== index) return;
    this.timing = timing;
    this.onTiming?.(timing);
    $("timing").replaceChildren(...timing.streams.map(stream));
    this.drawTiming();
  }

  drawTiming() {
    this.timing?.streams.forEach((item, k) => {
      const canvas = $("timing").children[k]?.querySelector("canvas");
      if (canvas && item.histogram) histogram(canvas, item.histogram, item.nominal_hz);
    });
  }
}

function what(edit) {
  return edit.mask ? `${edit.added ? "into" : "out of"} mask ${edit.mask}` : describe(edit.labels);
}

function describe(labels) {
  const words = { true: "success", false: "failure", null: "no result" };
  const told = Object.entries(labels).filter(([name, value]) => value !== null && value !== undefined || name === "success")
    .map(([name, value]) => name === "success" ? words[value ?? null] : `${name} “${value}”`);
  return told.join(", ") || Object.keys(labels).map((name) => `${name} removed`).join(", ");
}

function stream(item) {
  const rate = item.rate_hz === undefined ? `${whole(item.samples)} samples`
    : `${number(item.rate_hz)} Hz${item.nominal_hz ? ` of ${number(item.nominal_hz)}` : ""}`;
  const node = el("div", { className: "stream" }, el("b", {}, item.name === "grid" ? "steps" : item.name), ` ${rate}`);
  if (item.histogram) node.append(el("canvas", { title: `time between samples: 0 to ${number(item.histogram.reach_ms)} ms` }));
  const facts = el("div");
  const add = (name, value, warn) => {
    if (value === undefined || value === null) return;
    facts.append(facts.childNodes.length ? " · " : "", el("span", { className: warn && value ? "warn" : "" }, `${name} ${typeof value === "number" ? number(value) : value}`));
  };
  if (item.expected !== undefined) add("received", `${whole(item.received)} of ${whole(item.expected)}`);
  add("dropped", item.dropped, true);
  add("late", item.late, true);
  add("spooled", item.spooled || undefined);
  add("repeats", item.repeats);
  if (item.jitter_ms !== undefined) { add("jitter", `${number(item.jitter_ms)} ms`); add("longest gap", `${number(item.max_gap_ms)} ms`); }
  node.append(facts);
  return node;
}

function histogram(canvas, { counts, reach_ms }, nominal) {
  const { context, width, height } = painted(canvas), top = Math.log1p(Math.max(...counts, 1)), bar = width / counts.length;
  context.fillStyle = css("rule");
  context.fillRect(0, height - 1, width, 1);
  counts.forEach((count, k) => {
    if (!count) return;
    const tall = Math.max(2, Math.log1p(count) / top * (height - 3));
    context.fillStyle = k * reach_ms / counts.length > 1.5 * reach_ms / 3.07 ? css("bad") : css("accent");
    context.fillRect(k * bar, height - 1 - tall, Math.max(bar - 1, 1), tall);
  });
  if (nominal) { context.fillStyle = css("second"); context.fillRect(1000 / nominal / reach_ms * width, 0, 1, height); }
}
