// The form: what is asked for as plain texts, how it is remembered, and which field the server complains about.

import { sides, sizeChoices } from "./models.js";

const STORED = "graph-runtime playground";

/** The fields that are remembered, and that a result is made again with; their names are those of the images API. */
const NAMES = ["model", "prompt", "size", "num_inference_steps", "rng_seed", "n", "negative_prompt", "guidance_scale",
  "output_format", "strength"];

/** Where the server's name for a field is not the name of the one on the page. */
const SHOWN_AT = { "image[]": "image", num_images_per_prompt: "n" };

const form = document.getElementById("form");
const field = (name) => document.getElementById(name);

let strengthIsSet = false;

/** What is asked for: name -> text, "" where it is left to the server. */
export function readSettings() {
  const settings = Object.fromEntries(NAMES.map((name) => [name, field(name).value.trim()]));
  settings.prompt = field("prompt").value;
  settings.size = chosenSize();
  if (!strengthIsSet) settings.strength = "";
  return settings;
}

function chosenSize() {
  const [size, width, height] = ["size", "width", "height"].map((name) => field(name).value);
  return size === "own" ? width && height && `${width}x${height}` : size;
}

/** Fill the form; names that are missing stay as they are. */
export function fillSettings(settings, model, withPicture) {
  for (const name of NAMES) {
    if (settings[name] === undefined || name === "size" || name === "strength" || name === "model") continue;
    field(name).value = settings[name];
  }
  if (settings.strength !== undefined) showStrength(settings.strength);
  showSizes(model, withPicture, settings.size ?? "");
  if (settings.negative_prompt || settings.guidance_scale) field("more").open = true;
}

/** Offer what the model can do: its sizes, and its own numbers where fields are empty. */
export function fitToModel(model, withPicture) {
  showSizes(model, withPicture, chosenSize() || field("size").value); // the latter while only one side is given
  const steps = field("num_inference_steps");
  steps.placeholder = model?.defaultSteps ?? "its own";
  setMost(steps, model?.maxSteps);
  setMost(field("n"), model?.maxN);
  const most = sides(model?.maxSize) ?? [null, null];
  setMost(field("width"), most[0]);
  setMost(field("height"), most[1]);
  // Arrow keys go from the least in steps: from 1 they would give sizes that the model cannot draw.
  field("width").min = field("height").min = model?.minSide ?? 1;
  field("width").step = field("height").step = model?.multiple ?? 1;
}

function setMost(input, most) {
  if (most) input.max = most;
  else input.removeAttribute("max");
}

function showSizes(model, withPicture, wanted) {
  const select = field("size");
  const choices = sizeChoices(model, withPicture);
  select.replaceChildren(...choices.map(([value, label]) => new Option(label, value)));
  if (!withPicture && wanted === model?.defaultSize) wanted = "";
  const known = choices.some(([value]) => value === wanted);
  const free = choices.some(([value]) => value === "own");
  select.value = known ? wanted : free && wanted ? "own" : choices[0][0];
  const own = sides(wanted);
  if (!known && free && own !== null) [field("width").value, field("height").value] = own;
  showOwnSize();
}

function showOwnSize() {
  const own = field("size").value === "own";
  field("own-size").hidden = !own;
}

function showStrength(text) {
  strengthIsSet = text !== "";
  if (strengthIsSet) field("strength").value = text;
  field("strength-value").textContent = strengthIsSet ? Number(text).toFixed(2) : "the model's own";
  field("strength").setAttribute("aria-valuetext", field("strength-value").textContent);
  field("strength-reset").hidden = !strengthIsSet;
}

// ---- remembered in this browser

/** The settings of the last visit; {} where there are none, or the browser keeps nothing. */
export function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(STORED));
    return found !== null && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

/** Remember the settings for the next visit. */
export function remember(settings) {
  try {
    localStorage.setItem(STORED, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing: the page works without.
  }
}

// ---- what is wrong

/** What can be seen here without asking the server: {param, message}, or null. */
export function missing() {
  if (!field("model").value) return { param: "model", message: "There is no model to ask that can be used." };
  if (!field("prompt").value.trim()) return { param: "prompt", message: "Say what the picture is to show." };
  for (const input of form.querySelectorAll("input[type=number]")) {
    // A browser gives "" for a number that it cannot read; that must not pass for an empty field.
    if (input.validity.badInput) return { param: input.name, message: "This is no number." };
  }
  if (field("size").value === "own" && !(field("width").value && field("height").value)) {
    return { param: "size", message: "Give the width and the height, in pixels." };
  }
  return null;
}

/** Mark the field that an error is about, and go there; returns whether there is such a field. */
export function markFault(param, message) {
  const name = SHOWN_AT[param] ?? param;
  const text = name && field(`${name}-error`) || name && ["width", "height"].includes(name) && field("size-error");
  if (!text || text.closest("[hidden]:not(.fault)")) return false;
  text.textContent = message;
  text.hidden = false;
  text.closest("details")?.setAttribute("open", "");
  const inputs = name === "size" && !field("own-size").hidden ? ["width", "height"] : [name];
  for (const each of inputs) field(each).setAttribute("aria-invalid", "true");
  field(inputs[0]).focus();
  return true;
}

/** Take all marks away. */
export function clearFaults() {
  for (const text of document.querySelectorAll(".fault")) {
    text.hidden = true;
    text.textContent = "";
  }
  for (const each of document.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
}

/** Follow what the form does by itself: the size of one's own, the strength, Enter in the prompt, back to the model's own. */
export function watchForm(whenReset) {
  field("size").addEventListener("change", () => {
    showOwnSize();
    if (field("size").value === "own") field("width").focus();
  });
  field("strength").addEventListener("input", () => showStrength(field("strength").value));
  field("strength-reset").addEventListener("click", () => {
    showStrength("");
    field("strength").focus();
  });
  showStrength("");
  field("prompt").addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id !== "prompt") form.requestSubmit();
  });
  field("reset").addEventListener("click", () => {
    for (const name of NAMES) if (name !== "model" && name !== "prompt" && name !== "output_format") field(name).value = "";
    field("output_format").value = "png";
    showStrength("");
    showOwnSize();
    whenReset();
  });
}
