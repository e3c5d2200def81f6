// Opens the dataset, then one episode at a time; ties list, player, plots and panel together.

import { Cameras } from "./cameras.js";
import { EpisodeList } from "./list.js";
import { Panel } from "./panel.js";
import { Paths } from "./paths.js";
import { Player } from "./player.js";
import { Plots } from "./plots.js";
import { $, dark, getBuffer, getJson, number, remember, remembered, seconds, whole } from "./util.js";

let dataset, plots, opening = 0;
const list = new EpisodeList((index) => open(index));
const player = new Player((t) => {
  plots?.setTime(t);
  paths.setTime(t);
  clearTimeout(player.note);
  player.note = setTimeout(() => history.replaceState(null, "", `#episode=${list.current}&t=${player.t.toFixed(3)}`), 300);
});
const paths = new Paths();
const panel = new Panel(list, showLabels, (index) => open(index));
panel.onTiming = ({ gaps, repeats }) => { player.marks = { gaps, repeats }; player.draw(); };

function showLabels({ index, labels }) {
  list.update(index, labels);
  if (index !== list.current) return;
  $("state").textContent = { true: "success", false: "failure" }[labels.success] ?? "not labelled";
  $("state").className = `pill ${{ true: "yes", false: "no" }[labels.success] ?? ""}`;
  $("task-text").textContent = $("task-text").title = labels.task ?? "";
}

async function open(index, t) {
  const turn = ++opening;
  player.pause();
  list.select(index);
  let episode, times, cameraTimes;
  try {
    episode = await getJson(`api/episode/${index}`);
    const load = async (stream) => new Float64Array(await getBuffer(`api/episode/${index}/times${stream ? `?stream=${encodeURIComponent(stream)}` : ""}`));
    times = await load();
    cameraTimes = await Promise.all(episode.cameras.map((camera) => camera.source === "stream" ? load(camera.name) : times));
  } catch (error) {
    if (turn === opening) tell(`Episode ${index}: ${error.message}`);
    return;
  }
  if (turn !== opening) return;
  tell("");
  $("episode").hidden = $("panel").hidden = false;
  $("title").textContent = `Episode ${index}`;
  player.zoom = null;
  $("unzoom").hidden = true;
  player.times = times;
  plots.open(index, player.start, player.stop, t ?? player.start);
  paths.open(index, t ?? player.start);
  player.open(times, new Cameras(episode.cameras, cameraTimes), t);
  showLabels(episode);
  panel.open(episode, dataset.editable);
  $("facts").textContent = facts();
  if ($("auto-play").checked && t === undefined) player.play();
}

function tell(text) {
  $("empty").hidden = !text;
  $("empty").textContent = text;
  if (text) $("episode").hidden = $("panel").hidden = true;
}

const facts = () => `${whole(dataset.num_episodes)} episode${dataset.num_episodes === 1 ? "" : "s"} · ${whole(dataset.num_steps)} steps · ${number(dataset.fps)} Hz`
  + (dataset.num_episodes ? ` · ${seconds(dataset.num_steps / dataset.fps)}` : "") + ` · ${dataset.location}`;

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  player.draw();
  plots?.draw();
  paths.draw();
  panel.drawTiming();
}

function neighbour(by) {
  const index = list.neighbour(by);
  if (index !== undefined && index !== list.current) open(index);
}

function speed(by) {
  const select = $("speed");
  select.selectedIndex = Math.min(Math.max(select.selectedIndex + by, 0), select.length - 1);
}

const KEYS = {
  " ": () => player.toggle(), ArrowLeft: () => player.step(-1), ArrowRight: () => player.step(1),
  ArrowUp: () => neighbour(-1), ArrowDown: () => neighbour(1), k: () => neighbour(-1), j: () => neighbour(1),
  Home: () => player.seek(player.start), End: () => player.seek(player.stop), "[": () => speed(-1), "]": () => speed(1),
  s: () => panel.setSuccess(true), f: () => panel.setSuccess(false), u: () => panel.setSuccess(null),
  m: () => panel.lastMask && dataset.editable && panel.toggleMask(panel.lastMask), n: () => $("edit-notes").focus(),
  z: () => plots.setZoom(null),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.matches("input:not([type=checkbox]),textarea,select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") { event.preventDefault(); $("search").focus(); } else if (event.key === "?") $("help").showModal();
  else if (event.key === "t") $("theme").click();
  else if (list.current !== null && !$("episode").hidden) {
    if (event.shiftKey && event.key.startsWith("Arrow")) player.seek(player.t + (event.key === "ArrowRight") - (event.key === "ArrowLeft"));
    else if (KEYS[event.key]) KEYS[event.key](); else return;
    event.preventDefault();
  }
});
// space must play, whatever was clicked last
addEventListener("click", (event) => event.target.closest("button")?.blur());
$("theme").addEventListener("click", () => { const theme = dark() ? "light" : "dark"; remember("theme", theme); setTheme(theme); });
$("help-button").addEventListener("click", () => $("help").showModal());
$("unzoom").addEventListener("click", () => plots.setZoom(null));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
  if (!remembered("theme")) setTheme(event.matches ? "dark" : "light");
});

async function start() {
  setTheme(remembered("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  dataset = await getJson("api/dataset");
  document.title = `${dataset.name} – robolearn dataset view`;
  $("name").textContent = dataset.name;
  $("facts").textContent = facts();
  $("problem").textContent = dataset.problem ?? "";
  plots = new Plots(dataset.features, (t) => { player.pause(); player.seek(t); }, (range) => {
    player.zoom = range;
    $("unzoom").hidden = !range;
    player.draw();
  });
  list.setColumns(await getJson("api/episodes"));
  if (!dataset.num_episodes) { tell("This dataset has no episodes yet. Record some, then load this page again."); return; }
  const asked = new URLSearchParams(location.hash.slice(1));
  const t = parseFloat(asked.get("t"));
  const index = Math.min(Math.max(parseInt(asked.get("episode") ?? 0, 10) || 0, 0), dataset.num_episodes - 1);
  await open(index, Number.isNaN(t) ? undefined : t);
}

start().catch((error) => tell(error.message));
