// The panel of the chosen node: what the graph says of it, and how it does.

import { activity, duration, element } from "./graph-parts.js";

const LISTS = {
  input_stream: "Inputs", output_stream: "Outputs", input_side_packet: "Input side packets", output_side_packet: "Output side packets",
};
const part = (id) => document.getElementById(id);

let shown = "";

/** What does not change while the graph runs. */
export function showDetails(node) {
  shown = "";
  part("node-live").replaceChildren();
  part("node-title").textContent = node ? node.name : "No node is chosen";
  if (!node) {
    part("node-details").replaceChildren();
    return;
  }
  const rows = [["Calculator", node.calculator], ["Written at", node.place ?? "–"]];
  for (const problem of node.problems ?? []) rows.push(["Problem", problem]);
  if (node.handler) {
    rows.push(["Executor", node.executor || "the default one"], ["Input stream handler", node.handler]);
    if (node.max_in_flight > 1) rows.push(["Calls at once", String(node.max_in_flight)]);
  }
  const lists = Object.entries(LISTS).flatMap(([of, title]) => {
    const ports = (node.ports ?? []).filter((port) => port.of === of);
    return ports.length ? [element("h4", { textContent: title }), element("ul", {}, ...ports.map(portLine))] : [];
  });
  const options = node.options ? [element("h4", { textContent: "Options" }), element("pre", { textContent: node.options })] : [];
  part("node-details").replaceChildren(list(rows), ...lists, ...options);
}

/** What does; undefined while nothing is known. */
export function showLive(node) {
  if (!node) return;
  const rows = [["Calls", node.calls.toLocaleString("en")]];
  if (node.calls) rows.push(["Mean, last, longest", [node.mean_ms, node.last_ms, node.longest_ms].map(duration).join(", ")]);
  if (node.running) rows.push(["Now", activity(node)]);
  for (const { stream, packets, most } of node.queues) rows.push([`Queue of ${stream}`, `${packets} (at most ${most} in one run)`]);
  for (const reason of node.waits_for) rows.push(["Waits", reason]);
  const text = JSON.stringify(rows);
  if (text === shown) return;
  shown = text;
  part("node-live").replaceChildren(list(rows));
}

function list(rows) {
  return element("dl", {}, ...rows.flatMap(([term, text]) => [element("dt", { textContent: term }), element("dd", { textContent: text })]));
}

function portLine({ tag, name, type, optional }) {
  const port = element("code", { textContent: tag ? `${tag}:${name}` : name });
  return element("li", {}, port, ` ${type}${optional ? ", optional" : ""}`);
}
