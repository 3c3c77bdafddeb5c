// The page of one graph: its picture, what it does now, and what its last runs did.

import { ask, askJson } from "./server.js";
import { activity, duration, element, setText, showProblem } from "./graph-parts.js";
import { showDetails, showLive } from "./graph-node.js";
import { choose, showBadges, showPicture } from "./graph-picture.js";
import { showRuns } from "./graph-runs.js";

const LOOK_MS = 1000;
const TRY_AGAIN_MS = 4000;

const part = (id) => document.getElementById(id);
const name = document.querySelector("main").dataset.graph;
const below = `graphs/${name.split("/").map(encodeURIComponent).join("/")}`;

let version = null; // of the graph that is shown
let structure = null;
let chosen = null; // the name of a node
let picture = null; // the text of its SVG file; null where it is too large to be drawn
let runs = [];
let timer = null;

part("trace").addEventListener("click", downloadTrace);
part("save").addEventListener("click", () => save(new Blob([picture], { type: "image/svg+xml" }), "svg"));
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) look();
});
look();

async function look() {
  clearTimeout(timer);
  let pause = LOOK_MS;
  try {
    const after = runs.at(-1)?.number ?? 0;
    const now = await askJson(`${below}/snapshot?after=${after}`);
    if (now.version !== version || now.state !== structure?.state) {
      await showGraph();
      await look();
      return;
    }
    show(now);
    showProblem(now.problem);
  } catch (error) {
    part("state").textContent = "";
    showProblem(error.message, "Try again", look);
    if (error.status === 404 || error.status === 401) return; // it will not come by itself
    pause = TRY_AGAIN_MS;
  }
  if (!document.hidden) timer = setTimeout(look, pause);
}

/** Show a graph that is new here: the first one, or another version of it. */
async function showGraph() {
  structure = await askJson(`${below}/graph.json`);
  version = structure.version;
  runs = [];
  part("all").hidden = structure.nodes.length === 0;
  picture = null;
  if (structure.nodes.length) {
    try {
      picture = await (await ask(`${below}/graph.svg`)).text();
    } catch (error) {
      if (error.status !== 422) throw error; // too large to be drawn: the tables have it all
      part("picture").replaceChildren(element("p", { textContent: error.message }));
    }
    if (picture !== null) showPicture(part("picture"), picture, pick);
    part("save").hidden = picture === null;
  }
  part("nodes").tBodies[0].replaceChildren(...structure.nodes.map(row));
  setText(part("nodes-caption"), structure.summary ?? "");
  pick(structure.nodes.some((node) => node.name === chosen) ? chosen : (structure.nodes[0]?.name ?? null));
}

function show(now) {
  const { running, waiting } = now.requests;
  const ages = now.ages_s.length ? `, the first for ${duration(Math.max(...now.ages_s) * 1000)}` : "";
  setText(part("state"), `${now.state.toLowerCase()} · ${running} running, ${waiting} waiting${ages}`);
  showBadges(now.nodes);
  const live = new Map(now.nodes.map((node) => [node.name, node]));
  for (const each of part("nodes").tBodies[0].rows) fill(each, live.get(each.dataset.node));
  showLive(live.get(chosen));
  structure.live = live;
  const before = runs;
  // Runs that the server has forgotten (it keeps the last ones) go here too; a number that has gone back is another life of the server.
  runs = [...(now.recorded < (before.at(-1)?.number ?? 0) ? [] : before), ...now.runs].slice(-20);
  part("quick-runs").hidden = now.always_recorded !== false;
  if (now.runs.length || !before.length) showRuns(runs, structure.nodes.map((node) => node.name));
}

/** Choose a node: in the picture, in the table, and for the panel. */
function pick(node) {
  chosen = node;
  choose(node);
  for (const each of part("nodes").tBodies[0].rows) {
    each.querySelector("button").setAttribute("aria-pressed", String(each.dataset.node === node));
  }
  showDetails(structure.nodes.find((each) => each.name === node));
  showLive(structure.live?.get(node));
}

function row({ name: node }) {
  const button = element("button", { type: "button", textContent: node });
  button.addEventListener("click", () => pick(node));
  const made = element("tr", {}, element("th", { scope: "row" }, button));
  made.dataset.node = node;
  for (let column = 0; column < 6; column += 1) made.append(element("td", { textContent: "–" }));
  return made;
}

function fill(place, node) {
  if (!node) return;
  const queued = node.queues.reduce((sum, queue) => sum + queue.packets, 0);
  const now = activity(node) || (node.waits_for[0] ?? "");
  const texts = [
    node.calls.toLocaleString("en"), duration(node.mean_ms), duration(node.last_ms), duration(node.longest_ms), String(queued), now,
  ];
  texts.forEach((text, at) => setText(place.cells[at + 1], text));
}

async function downloadTrace() {
  try {
    save(await (await ask(`${below}/trace`)).blob(), "trace.json");
  } catch (error) {
    showProblem(error.message);
  }
}

function save(blob, ending) {
  const link = element("a", { href: URL.createObjectURL(blob), download: `${name.replace(/[^\w.-]/g, "-")}.${ending}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
