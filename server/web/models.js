// The models to choose from: which there are, what they can draw, and what stands beside the choice.

import { askJson } from "./server.js";

const LOADING = ["LOADING", "START"];

/** Everything that makes pictures, or may do so once it is loaded; adapters are among them. Throws a ServerError. */
export async function loadModels() {
  const { data } = await askJson("v3/models");
  return data.map(describe).filter((model) => model.makesImages);
}

function describe(listed) {
  const told = listed.graph_runtime ?? {};
  return {
    name: listed.id,
    parent: listed.parent ?? null,
    usable: listed.state === "AVAILABLE",
    loading: LOADING.includes(listed.state),
    state: listed.state.toLowerCase(),
    reason: listed.reason ?? null,
    // Of a model that is not loaded nobody knows; it is shown, with its reason, rather than missed.
    makesImages: told.makes_images !== false,
    tasks: told.tasks ?? ["text_to_image", "image_to_image", "inpainting"],
    defaultSize: told.default_size, // undefined as long as nobody knows, null where each request has to give one
    sizes: told.sizes ?? null,
    maxSize: told.max_size ?? null,
    multiple: told.size_multiple ?? 1,
    minSide: told.min_side ?? 1,
    defaultSteps: told.default_steps ?? null,
    maxSteps: told.max_steps ?? null,
    maxN: told.max_n ?? null,
    graph: told.graph ?? null,
  };
}

/** Put the models into a select; keeps the one that is chosen, else takes wanted, else the first that can be used. */
export function showChoices(select, models, wanted) {
  const kept = select.value || wanted;
  select.replaceChildren(...models.map((model) => {
    const label = model.parent === null ? model.name : `${model.name} (adapter of ${model.parent})`;
    const option = new Option(model.usable ? label : `${label}: ${model.state}`, model.name);
    option.disabled = !model.usable && !model.loading;
    return option;
  }));
  const chosen = models.find(({ name, usable, loading }) => name === kept && (usable || loading)) ?? models.find(({ usable }) => usable)
    ?? models.find(({ loading }) => loading);
  select.value = chosen?.name ?? "";
  return chosen ?? null;
}

/** What stands below the choice: the state, why others cannot be chosen, and a way to the graph. */
export function showHint(hint, model, models) {
  const parts = [];
  if (!models.length) parts.push("No model that makes pictures is served.");
  else if (model === null) parts.push("No model can be used now.");
  else {
    if (!model.usable) parts.push(`It is ${model.state}; a request waits until it is there.`);
    if (model.graph !== null) {
      const link = document.createElement("a");
      link.href = model.graph;
      link.textContent = "Its graph";
      link.setAttribute("aria-label", `The graph of ${model.name}`);
      parts.push(link);
    }
  }
  const failed = models.filter(({ usable, loading }) => !usable && !loading);
  const troubles = failed.map((other) => {
    const line = document.createElement("span");
    line.className = "trouble";
    line.textContent = `${other.name} cannot be used: ${other.reason ?? other.state}`;
    return line;
  });
  parts.push(...(troubles.length > 1 ? [folded(`${troubles.length} models cannot be used`, troubles, hint)] : troubles));
  hint.replaceChildren(...parts.flatMap((part) => [part, " "]));
}

/** Many reasons would push the form away; they stay open where somebody opened them. */
function folded(title, parts, before) {
  const details = Object.assign(document.createElement("details"), { open: before.querySelector("details")?.open ?? false });
  details.append(Object.assign(document.createElement("summary"), { textContent: title }), ...parts);
  return details;
}

/** The sizes to offer, as [value, label]; "" leaves it to the server, where that has one; "own" asks for two numbers. */
export function sizeChoices(model, withPicture) {
  if (model === null) return [["", "Automatic"]];
  const choices = [];
  if (withPicture || model.defaultSize === undefined) choices.push(["", "Automatic"]);
  else if (model.defaultSize !== null) choices.push(["", pretty(model.defaultSize)]);
  for (const size of model.sizes ?? shapes(model)) {
    if (withPicture || size !== model.defaultSize) choices.push([size, pretty(size)]);
  }
  return model.sizes === null ? [...choices, ["own", "Another…"]] : choices;
}

/** The model's own size, and a wide, a tall and a larger one beside it. */
function shapes(model) {
  const own = sides(model.defaultSize);
  if (own === null) return [];
  const most = sides(model.maxSize) ?? [Infinity, Infinity];
  const [width, height] = own;
  const times = (side, factor) => Math.round(side * factor / model.multiple) * model.multiple;
  const found = [[width, height], [times(width, 1.5), height], [width, times(height, 1.5)], [times(width, 1.5), times(height, 1.5)]];
  return found.filter((size) => size[0] <= most[0] && size[1] <= most[1]).map((size) => size.join("x"));
}

/** "64x48" -> [64, 48]; null where there is none. */
export function sides(size) {
  const found = /^(\d+)x(\d+)$/.exec(size ?? "");
  return found && [Number(found[1]), Number(found[2])];
}

function pretty(size) {
  return size.replace("x", "\u00a0×\u00a0");
}
