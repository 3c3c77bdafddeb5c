// The playground: a prompt becomes pictures. This file knows what happens when; the others know how.

import { fileName } from "./actions.js";
import { clearFaults, fillSettings, fitToModel, markFault, missing, readSettings, remember, remembered, watchForm } from "./form.js";
import { showGallery } from "./gallery.js";
import { loadModels, showChoices, showHint } from "./models.js";
import { watchPicture } from "./picture.js";
import { showProblem, takeProblemAway } from "./problem.js";
import { hideProgress, showProgress } from "./progress.js";
import { draw } from "./request.js";
import * as results from "./results.js";

const MOST_PLACES = 12; // kept free for pictures to come: who asks for a million is refused by the server
const LOOK_AGAIN_MS = 3000;
const ONE_COLUMN = matchMedia("(max-width: 60rem)"); // as in playground.css
const EXAMPLE = "a red circle on a blue background";

const part = (id) => document.getElementById(id);

let models = [];
let running = null;
let lookingAgain = null;
let listMissing = false;

const say = (text) => { part("status").textContent = text; };
const chosen = () => models.find(({ name }) => name === part("model").value) ?? null;

part("without-scripts").hidden = true;
part("playground").hidden = false;
const picture = watchPicture({ changed: fit, refuse: (message) => markFault("image", message), say });
const act = { startFrom, repeat, say };
const gallery = showGallery(act);
watchForm(fit);
const before = remembered();
fillSettings(before, null, false);
part("prompt").focus();
const looked = showModels(before.model, before.size);

// ---- models

async function showModels(wanted, size) {
  clearTimeout(lookingAgain);
  try {
    models = await loadModels();
  } catch (error) {
    listMissing = true;
    showProblem(error, "Try again", () => showModels(wanted, size));
    return;
  }
  if (listMissing) takeProblemAway();
  listMissing = false;
  const model = showChoices(part("model"), models, wanted);
  showHint(part("model-hint"), model, models);
  fit();
  if (size) fillSettings({ size }, model, picture.present);
  part("generate").disabled = running !== null || model === null;
  offerExample();
  clearTimeout(lookingAgain);
  if (models.some(({ loading }) => loading)) lookingAgain = setTimeout(() => { if (!document.hidden) showModels(wanted); }, LOOK_AGAIN_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) showModels(); });
part("model").addEventListener("change", () => {
  showHint(part("model-hint"), chosen(), models);
  fit();
});

/** Offer what the chosen model can do, with or without a picture. */
function fit() {
  const model = chosen();
  fitToModel(model, picture.present);
  picture.paints(model?.tasks.includes("inpainting") ?? true);
  part("drop").classList.toggle("has-picture", picture.present);
}

function offerExample() {
  part("example").textContent = `Try “${EXAMPLE}”`;
  part("example").hidden = chosen() === null;
}

part("example").addEventListener("click", () => {
  part("prompt").value = EXAMPLE;
  part("form").requestSubmit();
});

// ---- from a prompt to pictures

part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  looked.then(generate); // whoever is quicker than the list of models waits for it
});

async function generate() {
  if (running !== null) {
    say("A request is running; Escape cancels it.");
    return;
  }
  clearFaults();
  takeProblemAway();
  const fault = missing();
  if (fault !== null) {
    markFault(fault.param, fault.message);
    return;
  }
  const settings = readSettings();
  remember(settings);
  const edit = await picture.edit();
  if (running !== null) return; // pressed twice while the mask became a file
  const began = performance.now();
  const count = Math.min(MOST_PLACES, Math.max(1, Math.trunc(Number(settings.n)) || 1));
  results.begin(count, settings.size || (edit === null ? chosen()?.defaultSize : ""), settings.prompt);
  say("The request is sent.");
  if (ONE_COLUMN.matches) part("result").scrollIntoView({ block: "nearest" });
  const seeds = [];
  showRunning(true);
  running = draw(settings, edit, {
    partial: results.showPartial,
    progress: (told) => showProgress(told, say),
    async completed(index, drawn) {
      seeds.push(drawn.seed);
      const entry = { when: Date.now(), took: performance.now() - began, settings, edit, ...drawn };
      let kept = null;
      results.showDone(index, entry, act, () => { if (kept !== null) gallery.open(kept); });
      kept = await gallery.add(entry);
    },
  });
  let why = "";
  try {
    await running.done;
    say(seeds.length === 1 ? `The picture is there. Its seed is ${seeds[0]}.` : `${seeds.length} pictures are there.`);
  } catch (error) {
    why = failed(error);
  } finally {
    running = null;
    results.end(why);
    showRunning(false);
  }
}

/** Tell what went wrong; returns what to say in the place of the picture. */
function failed(error) {
  if (error.name === "AbortError") {
    say("Cancelled.");
    return "Cancelled.";
  }
  listMissing = false;
  if (error.param === "model") showModels(); // it is not served any more, say
  if (markFault(error.param, error.message)) showProblem(error);
  else showProblem(error, "Try again", generate);
  return "";
}

function showRunning(runs) {
  const hadFocus = document.activeElement;
  if (runs) showProgress(null, say);
  else hideProgress();
  part("generate").disabled = runs || chosen() === null;
  // Whoever pressed the one button goes on with the other; what came of it, or the error, stays in sight.
  if (runs && hadFocus === part("generate")) part("cancel").focus();
  if (!runs && hadFocus === part("cancel")) part("generate").focus({ preventScroll: true });
}

part("cancel").addEventListener("click", () => running?.cancel());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && running !== null && !document.querySelector("dialog[open]")) running.cancel();
});

// ---- with a picture that was drawn

async function startFrom(entry) {
  await picture.use(entry.blob, fileName(entry));
  part("remove").focus({ preventScroll: true });
}

async function repeat(entry) {
  const { model, ...settings } = entry.settings;
  if (entry.edit !== null) await picture.restore(entry.edit);
  else if (picture.present) picture.remove();
  if (models.some(({ name, usable }) => name === model && usable)) part("model").value = model;
  showHint(part("model-hint"), chosen(), models);
  fillSettings({ ...settings, rng_seed: entry.seed, n: "1" }, chosen(), picture.present);
  fit();
  say(`The settings of the picture are in the form, with its seed ${entry.seed}.`);
  part("prompt").focus();
}
