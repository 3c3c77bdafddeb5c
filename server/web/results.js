// The pictures of one request: on their way, with what is there so far, and done.

import { actions, called } from "./actions.js";

const place = document.getElementById("results");

let asked = null; // {count, size, prompt}
let shown = []; // one for each picture: {figure, opener, image, url}

/** Make room for the pictures of a request. size: "WxH", or "" where nobody knows yet. */
export function begin(count, size, prompt) {
  for (const { url } of shown) if (url !== null) URL.revokeObjectURL(url);
  asked = { count, size, prompt };
  shown = [];
  place.replaceChildren();
  place.setAttribute("aria-busy", "true");
  document.getElementById("empty").hidden = true;
  roomFor(count - 1);
}

/** Show what there is of a picture so far. */
export function showPartial(index, blob) {
  show(roomFor(index), blob);
}

/** Show a picture that is done, with what can be done with it; open() shows it large. */
export function showDone(index, entry, act, open) {
  const room = roomFor(index);
  show(room, entry.blob);
  room.figure.className = "result";
  room.opener.disabled = false;
  room.opener.title = "Enlarge";
  room.opener.addEventListener("click", open);
  const caption = document.createElement("figcaption");
  const seed = Object.assign(document.createElement("p"), { className: "seed", textContent: told(entry) });
  const buttons = Object.assign(document.createElement("div"), { className: "buttons" });
  buttons.append(...actions(entry, room.url, act));
  caption.append(seed, buttons);
  room.figure.append(caption);
}

function told({ seed, size, steps, took, ignored }) {
  const words = [`Seed ${seed}`, size.replace("x", "\u00a0×\u00a0"), `${steps} steps`, `${(took / 1000).toFixed(1)} s`];
  return words.join(" · ") + (ignored.length ? `. Changed nothing: ${ignored.join(", ")}` : "");
}

/** The request is over: what is not done will not be; partial pictures stay, so that one sees what there was. */
export function end(why) {
  place.setAttribute("aria-busy", "false");
  for (const room of shown.filter(({ figure }) => figure.classList.contains("waiting"))) {
    if (room.url === null) room.figure.remove();
    else {
      room.figure.className = "result unfinished";
      room.figure.append(Object.assign(document.createElement("figcaption"), { textContent: "Not finished" }));
    }
  }
  document.getElementById("empty-text").textContent = why || "Your picture appears here.";
  document.getElementById("empty").hidden = place.childElementCount > 0;
}

/** The place of a picture. There may be more than were asked for: some models are compiled for a number of pictures. */
function roomFor(index) {
  while (shown.length <= index) {
    const figure = Object.assign(document.createElement("figure"), { className: "result waiting" });
    const image = document.createElement("img");
    const name = called(asked.prompt);
    image.alt = asked.count > 1 || shown.length ? `${name}, picture ${shown.length + 1}` : name;
    const opener = Object.assign(document.createElement("button"), { type: "button", className: "opener", hidden: true, disabled: true });
    opener.append(image);
    const blank = Object.assign(document.createElement("div"), { className: "blank" });
    blank.style.aspectRatio = asked.size ? asked.size.replace("x", " / ") : "1";
    figure.append(opener, blank);
    shown.push({ figure, opener, image, url: null });
    place.append(figure);
  }
  place.classList.toggle("several", shown.length > 1);
  return shown[index];
}

function show(room, blob) {
  const before = room.url;
  room.url = URL.createObjectURL(blob);
  room.image.src = room.url;
  room.opener.hidden = false;
  room.figure.querySelector(".blank")?.remove();
  if (before !== null) URL.revokeObjectURL(before);
}
