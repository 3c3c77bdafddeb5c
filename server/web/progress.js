// How far the running request is: a bar and a line for those who see it, a few sentences for those who listen.

const part = (id) => document.getElementById(id);

let said = "";

/** Show what the server tells of a request, {state, position, step, steps}; null before it has told anything. */
export function showProgress(told, say) {
  const bar = part("bar");
  part("progress").hidden = false;
  if (told === null) said = "";
  const waiting = told?.state === "waiting";
  const drawing = Boolean(told?.steps) && !waiting;
  if (drawing) {
    bar.max = told.steps;
    bar.value = told.step;
  } else bar.removeAttribute("value");
  part("progress-text").textContent = line(told, waiting, drawing);
  // Every step would drown out everything else.
  const sentence = waiting ? `Waiting. ${ahead(told.position)}` : drawing ? `Drawing, ${told.steps} steps.` : "";
  if (sentence && sentence !== said) say(said = sentence);
}

/** There is no request any more. */
export function hideProgress() {
  part("progress").hidden = true;
}

function line(told, waiting, drawing) {
  if (waiting) return `Waiting in line. ${ahead(told.position)}`;
  if (drawing) return told.step < told.steps ? `Step ${told.step} of ${told.steps}` : "Nearly done …";
  return told?.state === "running" ? "Drawing …" : "Sending …";
}

function ahead(position) {
  return position === 1 ? "It is next." : `${position - 1} before it.`;
}
