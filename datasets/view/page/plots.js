// One plot a feature, on one time axis: the server thins curves to the width of the plot, so zooming in asks again.

import { $, before, colour, css, el, getBuffer, number, painted, ticks } from "./util.js";

const LEFT = 52, BOTTOM = 16, TOP = 5;
const FIRST_SHOWN = 10;

class Plot {
  constructor(feature, view) {
    this.feature = feature;
    this.view = view;
    this.off = new Set(view.hidden.get(feature.name) ?? Array.from({ length: feature.size }, (_, k) => k).slice(FIRST_SHOWN));
    this.canvas = el("canvas");
    this.canvas.dataset.plot = feature.name;
    this.message = el("div", { className: "bad" });
    const about = [feature.unit, feature.source === "stream" && (feature.rate_hz ? `${number(feature.rate_hz)} Hz` : "events")];
    this.chips = Array.from({ length: Math.min(feature.size, 64) }, (_, k) => this.chip(k));
    const bar = el("div", { className: "bar" }, el("b", {}, feature.name),
      el("span", { className: "soft" }, about.filter(Boolean).join(" · ")), ...this.chips.map((chip) => chip.node));
    this.node = el("div", { className: "plot" }, bar, this.canvas, this.message);
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.drag = [event.offsetX, event.offsetX];
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.drag) return;
      this.drag[1] = event.offsetX;
      this.draw();
    });
    this.canvas.addEventListener("pointerup", () => {
      const [a, b] = this.drag.sort((p, q) => p - q);
      this.drag = null;
      if (b - a > 6) view.setZoom([this.time(a), this.time(b)]); else view.onSeek(this.time(a));
    });
    this.canvas.addEventListener("dblclick", () => view.setZoom(null));
  }

  chip(k) {
    const label = this.feature.labels[k] ?? (this.feature.size > 1 ? String(k) : ""), value = el("span");
    const swatch = el("i"), node = el("button", { className: "chip", title: "show or hide" }, swatch, label ? `${label} ` : "", value);
    node.addEventListener("click", () => {
      if (!this.off.delete(k)) this.off.add(k);
      this.view.hidden.set(this.feature.name, [...this.off]);
      this.load();
    });
    return { node, swatch, value };
  }

  time(x) {
    const [start, stop] = this.view.range, width = this.canvas.clientWidth - LEFT;
    return start + Math.min(Math.max((x - LEFT) / width, 0), 1) * (stop - start);
  }

  get elements() { return Array.from({ length: Math.min(this.feature.size, 256) }, (_, k) => k).filter((k) => !this.off.has(k)); }

  async load() {
    this.aborter?.abort();
    const aborter = this.aborter = new AbortController();
    const elements = this.elements, [start, stop] = this.view.range;
    if (!elements.length) { this.data = null; this.draw(); return; }
    const query = new URLSearchParams({ name: this.feature.name, source: this.feature.source, elements: elements.join(","),
      start, stop, points: Math.max(64, Math.round(this.canvas.clientWidth - LEFT)) });
    try {
      const buffer = await getBuffer(`api/episode/${this.view.episode}/series?${query}`, aborter.signal);
      if (aborter.signal.aborted) return;
      this.data = unpack(buffer);
      this.message.textContent = "";
    } catch (error) {
      if (aborter.signal.aborted) return;
      this.data = null;
      this.message.textContent = error.message;
    }
    this.scale();
    this.draw();
  }

  scale() {
    if (!this.data) return;
    let low = Infinity, high = -Infinity;
    for (const v of this.data.lows) if (v < low) low = v;
    for (const v of this.data.highs) if (v > high) high = v;
    if (!(high >= low)) [low, high] = [0, 1];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    this.bounds = [low - room, high + room];
  }

  draw() {
    const { context, width, height } = painted(this.canvas);
    if (!width) return;
    const [start, stop] = this.view.range, data = this.data;
    const px = (t) => LEFT + (t - start) / (stop - start) * (width - LEFT);
    context.font = "11px system-ui,sans-serif";
    context.lineWidth = 1;
    context.textAlign = "center";
    for (const t of ticks(start, stop, width / 110)) {
      context.fillStyle = css("rule");
      context.fillRect(px(t), TOP, 1, height - BOTTOM - TOP);
      context.fillStyle = css("soft");
      if (px(t) < width - 12) context.fillText(`${number(t)} s`, px(t), height - 4);
    }
    if (data) this.curves(context, px, height);
    if (this.drag) {
      context.fillStyle = css("accent");
      context.globalAlpha = 0.18;
      context.fillRect(Math.min(...this.drag), TOP, Math.abs(this.drag[1] - this.drag[0]), height - BOTTOM - TOP);
      context.globalAlpha = 1;
    }
    context.fillStyle = css("ink");
    const x = px(this.view.t);
    if (x >= LEFT && x <= width) context.fillRect(Math.min(x, width - 1.5) - 0.5, 0, 1.5, height - BOTTOM);
    this.canvas.dataset.t = this.view.t.toFixed(6);
    this.read();
  }

  curves(context, px, height) {
    const { times, lows, highs, rows, elements, thinned } = this.data, [low, high] = this.bounds, D = elements.length;
    const py = (v) => TOP + (1 - (v - low) / (high - low)) * (height - BOTTOM - TOP);
    context.textAlign = "right";
    for (const v of ticks(low, high, 4)) {
      context.fillStyle = css("rule");
      context.fillRect(LEFT, py(v), context.canvas.width, 1);
      context.fillStyle = css("soft");
      context.fillText(number(v), LEFT - 5, Math.max(py(v) + 3.5, 9));
    }
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, context.canvas.width, height - BOTTOM);
    context.clip();
    context.lineJoin = "round";
    context.lineWidth = 1.4;
    const events = this.feature.kind === "event";
    elements.forEach((element, d) => {
      context.strokeStyle = context.fillStyle = colour(element);
      context.beginPath();
      for (let k = 0; k < rows; k++) {
        const x = px(times[k]);
        if (events) context.rect(x - 2, py(lows[k * D + d]) - 2, 4, 4);
        else if (Number.isNaN(lows[k * D + d])) continue;
        else {
          const broken = k === 0 || Number.isNaN(lows[(k - 1) * D + d]);
          if (broken) context.moveTo(x, py(lows[k * D + d])); else context.lineTo(x, py(lows[k * D + d]));
          if (thinned) context.lineTo(x, py(highs[k * D + d]));
        }
      }
      if (events || rows === 1) context.fill();
      if (!events) context.stroke();
    });
    context.restore();
  }

  // Values at the play head, beside the names.
  read() {
    const data = this.data, row = data?.rows ? before(data.times, this.view.t) : -1;
    this.chips.forEach((chip, k) => {
      const shown = !this.off.has(k);
      chip.node.classList.toggle("off", !shown);
      chip.swatch.style.background = colour(k);
      const d = data ? data.elements.indexOf(k) : -1;
      const at = row * (data?.elements.length ?? 0) + d;
      let text = "";
      if (shown && row >= 0 && d >= 0) {
        const [low, high] = [data.lows[at], data.highs[at]];
        text = low === high || Number.isNaN(low) ? number(low) : `≈ ${number((low + high) / 2)}`;
      }
      if (chip.text !== text) chip.value.textContent = chip.text = text;
    });
  }
}

function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const size = header.rows * header.elements.length, first = 4 + length + 8 * header.rows;
  const lows = new Float32Array(buffer, first, size);
  return { ...header, times: new Float64Array(buffer, 4 + length, header.rows), lows,
    highs: header.thinned ? new Float32Array(buffer, first + 4 * size, size) : lows };
}

export class Plots {
  constructor(features, onSeek, onZoom) {
    this.features = features.filter((feature) => !feature.encoded);
    this.onSeek = onSeek;
    this.onZoom = onZoom;
    this.hidden = new Map();
    this.t = 0;
    this.plots = [];
    let width = 0;
    new ResizeObserver(([entry]) => {
      if (Math.abs(entry.contentRect.width - width) < 2) return;
      width = entry.contentRect.width;
      for (const plot of this.plots) plot.load();
    }).observe($("plots"));
  }

  open(episode, start, stop, t) {
    Object.assign(this, { episode, whole: [start, stop], range: [start, stop], t });
    for (const plot of this.plots) plot.aborter?.abort();
    this.plots = this.features.map((feature) => new Plot(feature, this));
    $("plots").replaceChildren(...this.plots.map((plot) => plot.node));
    for (const plot of this.plots) plot.load();
  }

  setTime(t) {
    this.t = t;
    const [start, stop] = this.range;
    if (t > stop && stop < this.whole[1] || t < start) {
      const span = stop - start, from = Math.min(Math.max(t, this.whole[0]), this.whole[1] - span);
      this.setZoom([from, from + span]);
    } else this.draw();
  }

  draw() { for (const plot of this.plots) plot.draw(); }

  setZoom(range) {
    this.range = range && range[1] - range[0] > 1e-6 ? range : this.whole;
    this.onZoom(range);
    for (const plot of this.plots) plot.load();
  }
}
