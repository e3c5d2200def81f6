// The one clock: play, pause, step and seek; the scrubber with its marks.

import { $, before, css, painted, seconds } from "./util.js";

export class Player {
  constructor(onTime) {
    this.onTime = onTime;
    this.times = new Float64Array([0]);
    this.t = 0;
    this.playing = false;
    this.cameras = null;
    this.marks = { gaps: [], repeats: [] };
    this.zoom = null;
    $("play").addEventListener("click", () => this.toggle());
    $("back").addEventListener("click", () => this.step(-1));
    $("forward").addEventListener("click", () => this.step(1));
    const scrubber = $("scrubber");
    const seek = (event) => {
      const box = scrubber.getBoundingClientRect();
      this.seek(this.start + (event.clientX - box.left) / box.width * (this.stop - this.start));
    };
    scrubber.addEventListener("pointerdown", (event) => { scrubber.setPointerCapture(event.pointerId); seek(event); });
    scrubber.addEventListener("pointermove", (event) => { if (event.buttons & 1) seek(event); });
    new ResizeObserver(() => this.draw()).observe(scrubber);
    this.frame = this.frame.bind(this);
  }

  get start() { return this.times[0]; }
  get stop() { return Math.max(this.times.at(-1), this.times[0] + 1e-6); }
  get speed() { return +$("speed").value; }
  get index() { return before(this.times, this.t); }

  open(times, cameras, t) {
    this.pause();
    this.cameras?.close();
    this.times = times;
    this.cameras = cameras;
    this.marks = { gaps: [], repeats: [] };
    cameras.onReady = () => { if (this.late && cameras === this.cameras) this.seek(this.t); };
    this.seek(t ?? this.start);
  }

  seek(t) {
    this.t = Math.min(Math.max(t, this.start), this.stop);
    this.cameras.prepare(this.t, this.playing ? this.speed : 1);
    this.late = !this.cameras.show(this.t);
    this.draw();
    this.onTime(this.t);
  }

  step(by) {
    this.pause();
    const k = Math.min(Math.max(this.index + by, 0), this.times.length - 1);
    this.seek(this.times[k]);
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }

  play() {
    if (this.t >= this.stop - 1e-6) this.seek(this.start);
    this.playing = true;
    this.last = null;
    $("play").textContent = "❚❚";
    requestAnimationFrame(this.frame);
  }

  pause() {
    this.playing = false;
    $("play").textContent = "▶";
    $("waiting").textContent = "";
  }

  // Time stands still until all cameras have their frame, so they never show different moments.
  frame(now) {
    if (!this.playing) return;
    const passed = this.last === null ? 0 : Math.min((now - this.last) / 1000, 0.1) * this.speed;
    const next = Math.min(this.t + passed, this.stop);
    this.last = now;
    this.cameras.prepare(next, this.speed);
    if (this.cameras.show(next)) {
      this.t = next;
      this.late = false;
      this.waited = now;
      $("waiting").textContent = "";
      this.draw();
      this.onTime(next);
      if (next >= this.stop) { this.pause(); return; }
    } else if (now - (this.waited ?? now) > 300) $("waiting").textContent = "loading frames";
    requestAnimationFrame(this.frame);
  }

  draw() {
    const { context, width, height } = painted($("scrubber"));
    const x = (t) => (t - this.start) / (this.stop - this.start) * width;
    const bar = (from, to, top, tall, fill) => { context.fillStyle = fill; context.fillRect(x(from), top, Math.max(x(to) - x(from), 1.5), tall); };
    bar(this.start, this.stop, 11, 8, css("rule"));
    if (this.zoom) bar(this.zoom[0], this.zoom[1], 8, 14, css("tint"));
    bar(this.start, this.t, 11, 8, css("accent"));
    for (const [from, to] of this.marks.gaps) bar(from, to, 1, 7, css("bad"));
    for (const camera of this.marks.repeats) for (const [from, to] of camera.marks) bar(from, to, 22, 6, css("second"));
    context.fillStyle = css("ink");
    context.beginPath();
    context.roundRect(Math.min(Math.max(x(this.t), 2), width - 2) - 2, 4, 4, height - 8, 2);
    context.fill();
    $("clock").textContent = `${this.t.toFixed(2)} / ${seconds(this.stop)} · step ${this.index + 1} of ${this.times.length}`;
  }
}
