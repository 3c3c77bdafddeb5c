// The drawing of a graph: nodes that can be chosen, with what they do now at their corners.

import { duration, shape } from "./graph-parts.js";

const LEAST_SCALE = 0.75;

let nodes = new Map(); // name -> its group

/** Put an SVG file into the page. pick(name) is called for the node that somebody chooses. */
export function showPicture(place, text, pick) {
  const bare = text.replace(/<style>[^<]*<\/style>/, ""); // for the file alone: here the page has the say, and allows no other
  const drawn = document.importNode(new DOMParser().parseFromString(bare, "image/svg+xml").documentElement, true);
  drawn.setAttribute("role", "group");
  drawn.style.maxWidth = `max(100%, ${drawn.width.baseVal.value * LEAST_SCALE}px)`; // a little smaller where it then fits
  nodes = new Map();
  for (const group of drawn.querySelectorAll("g.node")) {
    const name = group.dataset.node;
    nodes.set(name, group);
    group.setAttribute("role", "button");
    group.setAttribute("aria-label", `Node ${group.querySelector("title").textContent}`);
    group.setAttribute("tabindex", "-1");
    group.addEventListener("click", () => pick(name));
    group.addEventListener("keydown", (event) => press(event, name, pick));
  }
  place.replaceChildren(drawn);
}

/** Mark the chosen node; it is the one that Tab leads to. */
export function choose(name) {
  for (const [each, group] of nodes) {
    group.setAttribute("aria-pressed", String(each === name));
    group.setAttribute("tabindex", each === name ? "0" : "-1");
  }
}

function press(event, name, pick) {
  const names = [...nodes.keys()];
  const at = names.indexOf(name);
  const next = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
  if (next === undefined) {
    if (event.key !== "Enter" && event.key !== " ") return;
    pick(name);
  } else if (names[next] !== undefined) {
    pick(names[next]);
    nodes.get(names[next]).focus();
  }
  event.preventDefault();
}

/** What nodes do now: running and how far at the right upper corner, packets that wait at the left one, the mean time below. */
export function showBadges(states) {
  for (const { name, running, progress, queues, mean_ms: mean } of states) {
    const group = nodes.get(name);
    if (!group) continue;
    const queued = queues.reduce((sum, queue) => sum + queue.packets, 0);
    badge(group, "running", running > 1 ? `${running} running` : running ? (progress ?? "running") : "", (box) => [box.x + box.width, box.y]);
    badge(group, "queued", queued ? `${queued} queued` : "", (box) => [box.x, box.y]);
    badge(group, "mean", mean === null ? "" : duration(mean), (box) => [box.x + box.width, box.y + box.height]);
  }
}

function badge(group, kind, text, corner) {
  let made = group.querySelector(`.${kind}`);
  if (!text) {
    made?.remove();
    return;
  }
  if (made?.textContent === text) return;
  made?.remove();
  const { x, y, width, height } = group.querySelector(".shape").getBBox();
  const [side, line] = corner({ x, y, width, height });
  const room = text.length * 6 + 10;
  const whole = group.ownerSVGElement.viewBox.baseVal;
  const middle = Math.min(Math.max(side, whole.x + room / 2 + 1), whole.x + whole.width - room / 2 - 1);
  made = shape("g", { class: `badge ${kind}`, "aria-hidden": "true" },
    shape("rect", { x: middle - room / 2, y: line - 8, width: room, height: 16, rx: 8 }),
    shape("text", { x: middle, y: line + 3.5, "text-anchor": "middle", "font-size": 10 }, text));
  group.append(made);
}
