// The place where errors are told: the server's own words, and what can be done.

const place = document.getElementById("problem");

let counting = null;

/** Tell an error. again(): what the button with this text does; no button without it. Where the server says when, it counts down. */
export function showProblem(error, text, again) {
  takeProblemAway();
  const message = Object.assign(document.createElement("p"), { textContent: error.message });
  const box = Object.assign(document.createElement("div"), { className: "error" });
  box.append(message);
  if (again) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => {
      takeProblemAway();
      again();
    });
    const line = Object.assign(document.createElement("p"), { className: "buttons" });
    line.append(button);
    if (error.retryAfter) line.append(countdown(error.retryAfter));
    box.append(line);
  }
  place.replaceChildren(box);
  if (again) place.scrollIntoView({ block: "nearest" }); // else the field that it is about has the focus
}

/** No error any more. */
export function takeProblemAway() {
  clearInterval(counting);
  place.replaceChildren();
}

/** How long it is until the server expects to have room; read aloud once, not each second. */
function countdown(seconds) {
  const end = Date.now() + seconds * 1000;
  const shown = document.createElement("span");
  const tell = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    shown.textContent = left > 0 ? `There should be room in ${left} s.` : "There should be room now.";
    if (left <= 0) clearInterval(counting);
  };
  shown.setAttribute("aria-live", "off");
  tell();
  counting = setInterval(tell, 1000);
  return shown;
}
