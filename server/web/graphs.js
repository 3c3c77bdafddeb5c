// The page with all graphs.

import { address, askJson } from "./server.js";
import { element, showProblem } from "./graph-parts.js";

async function show() {
  let models;
  try {
    models = (await askJson("v3/models")).data.filter((model) => !model.parent); // adapters have no graph of their own
  } catch (error) {
    showProblem(error.message, "Try again", show);
    return;
  }
  showProblem(null);
  document.getElementById("empty").hidden = models.length > 0;
  const table = document.getElementById("graphs");
  table.hidden = models.length === 0;
  table.tBodies[0].replaceChildren(...models.map(row));
}

function row({ id, state, reason, reload_problem: reloadProblem, graph_runtime: { graph } }) {
  const link = element("a", { textContent: id, href: address(graph) });
  const trouble = reason ?? (reloadProblem && `The newest version cannot be served: ${reloadProblem}`);
  const told = element("td", {}, state.toLowerCase(), ...(trouble ? [element("pre", { textContent: trouble })] : []));
  return element("tr", {}, element("th", { scope: "row" }, link), told);
}

show();
