// Cameras: frames are fetched and decoded a little ahead, and all cameras show the same moment.

import { $, before, el, getBlob } from "./util.js";

const AHEAD_S = 1.2;
const MEMORY = 160e6;
const AT_ONCE = 6;

class Camera {
  constructor(info, times) {
    this.info = info;
    this.times = times;
    const [height, width] = info.shape;
    this.canvas = el("canvas", { width, height });
    this.caption = el("figcaption");
    this.canvas.dataset.camera = info.name;
    this.label = info.name.replace(/^observation\.(images|depth)\./, "") + (info.kind === "depth" ? " depth" : "");
    this.frames = new Map(); // row -> ImageBitmap or Error, oldest use first
    this.drawn = null;
  }

  path(row) {
    const range = this.info.range ? `?low=${this.info.range[0]}&high=${this.info.range[1]}` : "";
    return `frame/${this.info.source}/${encodeURIComponent(this.info.name)}/${this.info.first + row}${range}`;
  }

  get(row) {
    const frame = this.frames.get(row);
    if (frame) { this.frames.delete(row); this.frames.set(row, frame); }
    return frame;
  }

  draw(row) {
    const frame = this.get(row);
    if (!frame || this.drawn === row) return;
    this.drawn = row;
    this.canvas.dataset.row = row;
    const context = this.canvas.getContext("2d");
    if (frame instanceof Error) {
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.caption.textContent = frame.message;
      this.caption.className = "bad";
    } else {
      context.drawImage(frame, 0, 0, this.canvas.width, this.canvas.height);
      this.caption.textContent = `${this.label} · ${row + 1}/${this.times.length} · ${this.times[row].toFixed(3)} s`;
      this.caption.className = "";
    }
  }
}

export class Cameras {
  constructor(infos, times) {
    this.cameras = infos.map((info, k) => new Camera(info, times[k])).filter((camera) => camera.times.length);
    this.aborter = new AbortController();
    this.pending = new Set();
    this.onReady = () => {};
    const figures = this.cameras.map((c) => el("figure", {}, c.canvas, c.caption));
    $("cameras").replaceChildren(...figures);
    this.room = Math.max(8, Math.floor(MEMORY / this.cameras.reduce((sum, c) => sum + 4 * c.canvas.width * c.canvas.height, 1)));
  }

  close() {
    this.aborter.abort();
    for (const camera of this.cameras) for (const frame of camera.frames.values()) frame.close?.();
  }

  // Draws moment t when every camera has its frame, and says whether.
  show(t) {
    const rows = this.cameras.map((camera) => before(camera.times, t));
    if (!this.cameras.every((camera, k) => camera.frames.has(rows[k]))) return false;
    this.cameras.forEach((camera, k) => camera.draw(rows[k]));
    return true;
  }

  // Fetches what comes after t at this speed, the moment itself first.
  prepare(t, speed) {
    this.wanted = { t, speed };
    const lists = this.cameras.map((camera) => {
      const row = before(camera.times, t), rows = [row];
      const rate = camera.times.length > 1 ? (camera.times.length - 1) / (camera.times.at(-1) - camera.times[0]) : 1;
      const stride = Math.max(1, Math.floor(rate * speed / 60));
      const count = Math.min(this.room - 2, Math.ceil(AHEAD_S * rate * Math.max(speed, 0.5) / stride));
      for (let k = 1; k <= count && row + k * stride < camera.times.length; k++) rows.push(row + k * stride);
      return rows;
    });
    for (let k = 0; k < Math.max(0, ...lists.map((rows) => rows.length)); k++) {
      for (let c = 0; c < lists.length; c++) {
        if (this.pending.size >= AT_ONCE) return;
        if (k < lists[c].length) this.fetch(this.cameras[c], lists[c][k]);
      }
    }
  }

  async fetch(camera, row) {
    const key = `${camera.info.name} ${row}`;
    if (camera.frames.has(row) || this.pending.has(key)) return;
    this.pending.add(key);
    let frame;
    try {
      frame = await createImageBitmap(await getBlob(camera.path(row), this.aborter.signal));
    } catch (error) {
      if (this.aborter.signal.aborted) return;
      frame = new Error(error.name === "InvalidStateError" ? "this frame cannot be decoded" : error.message);
    } finally {
      this.pending.delete(key);
    }
    if (this.aborter.signal.aborted) { frame.close?.(); return; }
    camera.frames.set(row, frame);
    while (camera.frames.size > this.room) {
      const [oldest, old] = camera.frames.entries().next().value;
      camera.frames.delete(oldest);
      old.close?.();
    }
    this.onReady();
    if (this.wanted) this.prepare(this.wanted.t, this.wanted.speed);
  }
}
