// The last runs, and when each node of one of them was called.

import { count, duration, element, shape } from "./graph-parts.js";

const WIDTH = 1000;
const LEAST = 2; // so that a call of a microsecond can be seen
const ENDS = { done: "done", refused: "refused", failed: "failed", cancelled: "cancelled" };
const part = (id) => document.getElementById(id);

let chosen = null; // a number; null follows the newest

/** Show runs, the newest last, of a graph with these nodes. */
export function showRuns(runs, nodes) {
  part("no-runs").hidden = runs.length > 0;
  part("some-runs").hidden = runs.length === 0;
  if (!runs.length) return;
  const focused = document.activeElement?.closest?.("#runs tr")?.dataset.run;
  part("runs").tBodies[0].replaceChildren(...runs.toReversed().map((run) => row(run, runs, nodes)));
  if (focused) part("runs").querySelector(`[data-run="${focused}"] button`)?.focus();
  if (!runs.some((run) => run.number === chosen)) chosen = null;
  showRun(runs, nodes);
}

function row(run, runs, nodes) {
  const button = element("button", { type: "button", textContent: String(run.number) });
  button.setAttribute("aria-label", `Run ${run.number}`);
  button.addEventListener("click", () => {
    chosen = run.number;
    showRun(runs, nodes);
  });
  const end = element("td", { textContent: ENDS[run.outcome], className: run.outcome === "failed" ? "bad-end" : "" });
  const made = element("tr", {},
    element("th", { scope: "row" }, button),
    element("td", { textContent: new Date(run.began).toLocaleTimeString() }),
    element("td", { textContent: duration(run.duration_ms) }),
    end,
    element("td", { textContent: run.api }));
  made.dataset.run = run.number;
  return made;
}

function showRun(runs, nodes) {
  const run = runs.find((each) => each.number === chosen) ?? runs.at(-1);
  for (const each of part("runs").tBodies[0].rows) {
    each.querySelector("button").setAttribute("aria-pressed", String(Number(each.dataset.run) === run.number));
  }
  const left = run.left_out ? `; the ${count(run.left_out, "call")} before these are left out` : "";
  part("run-caption").textContent = `Run ${run.number}: ${duration(run.duration_ms)} from left to right${left}`;
  const lanes = nodes.map((name) => [name, run.calls.filter((call) => call.node === name)]).filter(([, calls]) => calls.length);
  part("run").tBodies[0].replaceChildren(...lanes.map(([name, calls]) => lane(name, calls, run.duration_ms)));
}

function lane(name, calls, whole) {
  const at = (milliseconds) => (Math.max(0, milliseconds) / whole) * WIDTH;
  const line = shape("svg", { viewBox: `0 0 ${WIDTH} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const call of calls) {
    if (call.is_moment) continue;
    const title = shape("title", {}, `${call.phase}: ${duration(call.duration_ms)}, after ${duration(call.start_ms)}`);
    line.append(shape("rect", {
      class: call.phase, x: at(call.start_ms), y: 2, width: Math.max(LEAST, at(call.duration_ms)), height: 16,
    }, title));
  }
  for (const call of calls.filter((each) => each.is_moment)) {
    const x = at(call.start_ms);
    line.append(shape("path", { class: "moment", d: `M${x},2v16`, "vector-effect": "non-scaling-stroke" }));
  }
  const processed = calls.filter((call) => call.phase === "process");
  const steps = calls.filter((call) => call.is_moment).at(-1)?.phase;
  const all = processed.reduce((sum, call) => sum + call.duration_ms, 0);
  return element("tr", {},
    element("th", { scope: "row", textContent: name }),
    element("td", { className: "line" }, line),
    element("td", { textContent: `${processed.length}${steps ? ` (${steps})` : ""}` }),
    element("td", { textContent: duration(all) }));
}
