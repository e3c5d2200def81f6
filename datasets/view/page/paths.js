// Where the tool of each arm went, from above and from the side: thin as a whole, thick up to now, a dot where it is.

import { $, before, colour, css, el, getJson, number, painted, ticks } from "./util.js";

const MARGIN = { left: 40, right: 10, top: 8, bottom: 18 };
const AXES = ["x", "y", "z"];

export class Paths {
  constructor() {
    this.arms = [];
    this.t = 0;
    this.canvases = [...document.querySelectorAll("#paths canvas")];
    for (const canvas of this.canvases) new ResizeObserver(() => this.draw()).observe(canvas);
  }

  async open(episode, t) {
    this.aborter?.abort();
    const aborter = this.aborter = new AbortController();
    this.t = t;
    let found;
    try {
      found = await getJson(`api/episode/${episode}/paths`, aborter.signal);
    } catch (error) {
      if (aborter.signal.aborted) return;
      found = { arms: [], times: [], message: error.message };
    }
    if (aborter.signal.aborted) return;
    this.arms = found.arms;
    this.times = found.times;
    $("paths").hidden = !this.arms.length && !found.message;
    const frames = new Set(this.arms.map((arm) => arm.frame));
    const where = frames.size === 1 && !(frames.has("base") && this.arms.length > 1) ? `frame ${[...frames][0]}`
      : "each in the frame of its own base";
    $("paths-legend").replaceChildren(...found.message ? [found.message] : [
      ...this.arms.flatMap((arm, k) => {
        const swatch = el("i");
        swatch.dataset.arm = k;
        return [swatch, [arm.arm, arm.robot && (arm.arm ? `(${arm.robot})` : arm.robot)].filter(Boolean).join(" ") || "tool"];
      }), ` · ${where}, in m · ring: open, dot: closed`]);
    // from the side along whichever horizontal axis there is less to see
    const spans = [0, 1].map((axis) => this.span(axis)), side = spans[1] > spans[0] ? 1 : 0;
    this.views = { above: [0, 1], side: [side, 2] };
    this.draw();
  }

  span(axis) {
    let low = Infinity, high = -Infinity;
    for (const arm of this.arms) for (const point of arm.points) {
      low = Math.min(low, point[axis]);
      high = Math.max(high, point[axis]);
    }
    return high - low;
  }

  setTime(t) {
    this.t = t;
    this.draw();
  }

  draw() {
    if (!this.arms.length) return;
    document.querySelectorAll("#paths-legend i").forEach((swatch) => { swatch.style.background = colour(+swatch.dataset.arm); });
    for (const canvas of this.canvases) this.view(canvas, ...this.views[canvas.dataset.view]);
  }

  view(canvas, across, up) {
    const { context, width, height } = painted(canvas);
    if (!width) return;
    const room = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
    const all = this.arms.flatMap((arm) => arm.points);
    const ends = [across, up].map((axis) => all.reduce(([low, high], p) => [Math.min(low, p[axis]), Math.max(high, p[axis])], [Infinity, -Infinity]));
    // one scale for both axes, so that angles are what they are
    const scale = Math.min(...ends.map(([low, high], k) => room[k] / (Math.max(high - low, 0.02) * 1.12)));
    const middle = ends.map(([low, high]) => (low + high) / 2);
    const px = (v) => MARGIN.left + room[0] / 2 + (v - middle[0]) * scale;
    const py = (v) => MARGIN.top + room[1] / 2 - (v - middle[1]) * scale;
    this.grid(context, px, py, middle, room, scale, [AXES[across], AXES[up]], height);
    const row = before(this.times, this.t);
    this.arms.forEach((arm, k) => {
      const line = (count, thick, alpha) => {
        context.beginPath();
        arm.points.slice(0, count).forEach((p, i) => context[i ? "lineTo" : "moveTo"](px(p[across]), py(p[up])));
        Object.assign(context, { lineWidth: thick, globalAlpha: alpha, lineJoin: "round", strokeStyle: colour(k) });
        context.stroke();
        context.globalAlpha = 1;
      };
      line(arm.points.length, 1.2, 0.45);
      line(row + 1, 2.4, 1);
      const here = arm.points[row], open = arm.opening ? arm.opening[row] : 0;
      context.beginPath();
      context.arc(px(here[across]), py(here[up]), 4 + 2 * open, 0, 2 * Math.PI);
      context.fillStyle = open > 0.5 ? css("card") : colour(k);
      context.lineWidth = 2;
      context.fill();
      context.stroke();
    });
    canvas.dataset.row = row;
  }

  grid(context, px, py, middle, room, scale, names, height) {
    const half = [0, 1].map((k) => room[k] / scale / 2);
    context.font = "11px system-ui,sans-serif";
    context.textAlign = "center";
    for (const v of ticks(middle[0] - half[0], middle[0] + half[0], room[0] / 90)) {
      context.fillStyle = css("rule");
      context.fillRect(px(v), MARGIN.top, 1, room[1]);
      context.fillStyle = css("soft");
      context.fillText(number(v), px(v), height - 5);
    }
    context.textAlign = "right";
    for (const v of ticks(middle[1] - half[1], middle[1] + half[1], room[1] / 45)) {
      context.fillStyle = css("rule");
      context.fillRect(MARGIN.left, py(v), room[0], 1);
      context.fillStyle = css("soft");
      context.fillText(number(v), MARGIN.left - 5, py(v) + 3.5);
    }
    context.textAlign = "left";
    context.fillText(`${names[1]} ↑`, MARGIN.left + 4, MARGIN.top + 11);
    context.textAlign = "right";
    context.fillText(`${names[0]} →`, MARGIN.left + room[0] - 2, MARGIN.top + room[1] - 5);
  }
}
