// What can be done with a picture that was drawn, wherever it is shown.

const LONGEST_NAME = 60;
const LONGEST_CALL = 200;

/** What a picture is called by screen readers and where the mouse rests: its prompt, not for minutes. */
export function called(prompt) {
  return prompt.length > LONGEST_CALL ? `${prompt.slice(0, LONGEST_CALL)}…` : prompt;
}

/** The settings of a picture in words, as [name, value], without those that were left to the server. */
export function facts(entry) {
  const { settings } = entry;
  return [
    ["Prompt", settings.prompt],
    ["Not to be seen", settings.negative_prompt],
    ["Model", settings.model],
    ["Seed", entry.seed],
    ["Size", entry.size?.replace("x", "\u00a0×\u00a0")],
    ["Steps", entry.steps],
    ["Guidance", settings.guidance_scale],
    ["Strength", entry.edit && settings.strength],
    ["Made from", entry.edit && (entry.edit.mask === null ? entry.edit.name : `${entry.edit.name}, and a mask`)],
    ["Changed nothing", entry.ignored.join(", ")],
    ["Took", `${(entry.took / 1000).toFixed(1)} s`],
    ["When", new Date(entry.when).toLocaleString()],
  ].filter(([, value]) => value);
}

/** A name for the file of a picture: the beginning of its prompt, and its seed. */
export function fileName(entry) {
  const words = entry.settings.prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, LONGEST_NAME).replace(/^-+|-+$/g, "");
  const format = entry.blob.type.slice("image/".length);
  return `${words || "picture"}_${entry.seed}.${format === "jpeg" ? "jpg" : format}`;
}

/**
 * The buttons for a picture.
 *
 * url: where the browser has the picture. act: {startFrom(entry), repeat(entry), say(text)} and, for one more button, forget(entry).
 */
export function actions(entry, url, act) {
  const download = Object.assign(document.createElement("a"), { className: "button", href: url, download: fileName(entry), textContent: "Download" });
  const made = [download];
  const add = (text, what) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => what(button));
    made.push(button);
  };
  add("Start from it", () => act.startFrom(entry));
  add("Use its settings", () => act.repeat(entry));
  add("Copy seed", async (button) => {
    const copied = await copy(entry.seed, button.closest("dialog") ?? document.body);
    act.say(copied ? `The seed ${entry.seed} is copied.` : `The seed is ${entry.seed}; this browser does not let the page copy it.`);
    button.textContent = copied ? "Copied" : entry.seed;
    setTimeout(() => { button.textContent = "Copy seed"; }, 2000);
  });
  if (act.forget) add("Forget", () => act.forget(entry));
  return made;
}

async function copy(text, place) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard on plain http addresses of other machines: the old way.
    const field = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
    const before = document.activeElement;
    place.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    before?.focus();
    return copied;
  }
}
