// Requests, small DOM helpers, numbers for people, colours.

const base = location.pathname;
const token = base.split("/")[1];

async function answered(response) {
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try { message = (await response.json()).error; } catch { /* not json: the status must do */ }
  throw new Error(message);
}

async function request(path, options) {
  let response;
  try { response = await fetch(base + path, options); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: is robolearn dataset view still running?");
  }
  return answered(response);
}

export const getJson = async (path, signal) => (await request(path, { signal })).json();
export const getBuffer = async (path, signal) => (await request(path, { signal })).arrayBuffer();
export const getBlob = async (path, signal) => (await request(path, { signal })).blob();
export const post = async (path, body) => (await request(path, {
  method: "POST", headers: { "Content-Type": "application/json", "X-Token": token }, body: JSON.stringify(body),
})).json();

export const $ = (id) => document.getElementById(id);

export function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export const seconds = (value) => value < 60 ? `${value.toFixed(value < 10 ? 2 : 1)} s`
  : value < 3600 ? `${Math.floor(value / 60)}:${(value % 60).toFixed(1).padStart(4, "0")} min` : `${(value / 3600).toFixed(1)} h`;

export const number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(+value.toPrecision(size >= 1000 ? 6 : 4));
};

export const whole = (value) => value.toLocaleString("en-US");

// About `count` round numbers (1, 2 or 5 times a power of ten) from low to high.
export function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const power = 10 ** Math.floor(Math.log10((high - low) / count));
  const step = power * ([1, 2, 5, 10].find((m) => m * power * count >= high - low) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(+(k * step).toPrecision(12));
  return found;
}

const LIGHT = ["#2459c4", "#c2611a", "#16803d", "#8b3fb8", "#b92626", "#0f8496", "#8a6d00", "#c03a86", "#5b6675", "#4a8f10"];
const DARK = ["#7ea6ff", "#f0a05c", "#4cc27a", "#c79bf2", "#f07070", "#4fc6d8", "#dcbc4a", "#f08cc2", "#a8b3c2", "#9ed35c"];
export const dark = () => document.documentElement.dataset.theme === "dark";
export const colour = (k) => (dark() ? DARK : LIGHT)[k % LIGHT.length];
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A canvas in device pixels with a context in css pixels; cleared.
export function painted(canvas) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// Index of the last of the rising `times` that is not after t; 0 before the first.
export function before(times, t) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t + 1e-9) low = middle + 1; else high = middle;
  }
  return Math.max(low - 1, 0);
}

// What was chosen in the last session; storage may be forbidden.
export function remember(key, value) { try { localStorage.setItem(`robolearn.${key}`, value); } catch { /* then not */ } }
export function remembered(key) { try { return localStorage.getItem(`robolearn.${key}`); } catch { return null; } }
