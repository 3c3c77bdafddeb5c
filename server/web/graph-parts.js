// Small things that the pages of graphs are made of.

/** An element with properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** An SVG element with attributes. */
export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/** How long something took, for people: three digits, and the unit that fits. */
export function duration(milliseconds) {
  if (milliseconds === null) return "–";
  const [value, unit] = milliseconds >= 1000 ? [milliseconds / 1000, "s"] : milliseconds >= 1 ? [milliseconds, "ms"] : [milliseconds * 1000, "µs"];
  return `${value.toLocaleString("en", { maximumSignificantDigits: 3 })} ${unit}`;
}

/** What a node does now, of all runs; "" for nothing. */
export function activity({ running, progress }) {
  if (running > 1) return `running in ${running} runs`;
  return running ? `running${progress ? `: ${progress}` : ""}` : "";
}

export function count(number, what) {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}

/** Tell what is wrong, with a button that does something about it; null takes it away. */
export function showProblem(message, text, again) {
  const place = document.getElementById("problem");
  if (message === null) {
    place.replaceChildren();
    return;
  }
  if (place.dataset.message === message && place.firstChild) return; // read aloud once
  place.dataset.message = message;
  const box = element("div", { className: "error" }, element("pre", { textContent: message }));
  if (again) {
    const button = element("button", { type: "button", textContent: text });
    button.addEventListener("click", again);
    box.append(element("p", { className: "buttons" }, button));
  }
  place.replaceChildren(box);
}

/** Show a text where it has changed: what is as it was keeps its selection, and is not read again. */
export function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
