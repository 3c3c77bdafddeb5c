// The history on the page: small pictures, and a large view of each.

import { actions, called, facts } from "./actions.js";
import * as history from "./history.js";

const part = (id) => document.getElementById(id);
const list = part("history-list");
const viewer = part("viewer");

/**
 * Show the history, and keep it up to date.
 *
 * act: {startFrom(entry), repeat(entry), say(text)}. Returns {add(entry), open(entry)}; add resolves to the entry with its id.
 */
export function showGallery(act) {
  let shown = []; // newest first: {entry, url, item}
  let current = null; // the id of the entry in the large view

  function put(entry) {
    const url = URL.createObjectURL(entry.blob);
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", title: called(entry.settings.prompt) });
    button.append(Object.assign(document.createElement("img"), { src: url, alt: `${called(entry.settings.prompt)}, seed ${entry.seed}`, loading: "lazy" }));
    button.addEventListener("click", () => open(entry));
    item.append(button);
    return { entry, url, item };
  }

  async function refresh() {
    const wanted = await history.entries();
    const known = new Map(shown.map((each) => [each.entry.id, each]));
    shown = wanted.map((entry) => known.get(entry.id) ?? put(entry));
    const kept = new Set(shown);
    for (const gone of known.values()) if (!kept.has(gone)) URL.revokeObjectURL(gone.url);
    list.replaceChildren(...shown.map(({ item }) => item));
    part("history").hidden = shown.length === 0;
    showWays();
  }

  // Others may come in front of it meanwhile.
  const place = (id) => shown.findIndex((each) => each.entry.id === id);

  function open(entry) {
    const index = place(entry.id);
    if (index < 0) return;
    current = entry.id;
    const { url } = shown[index];
    part("viewer-image").src = url;
    part("viewer-image").alt = called(shown[index].entry.settings.prompt);
    part("viewer-facts").replaceChildren(...facts(shown[index].entry).map(([name, value]) => {
      const row = document.createElement("div");
      row.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value, dir: "auto" }));
      return row;
    }));
    const leave = (what) => (picture) => { viewer.close(); what(picture); };
    part("viewer-actions").replaceChildren(...actions(shown[index].entry, url, {
      startFrom: leave(act.startFrom), repeat: leave(act.repeat), say: act.say, forget: leave(forget),
    }));
    showWays();
    if (!viewer.open) viewer.showModal();
  }

  function showWays() {
    part("viewer-newer").disabled = place(current) <= 0;
    part("viewer-older").disabled = place(current) === shown.length - 1;
  }

  async function forget(entry) {
    await history.remove(entry.id);
    await refresh();
    act.say("The picture is forgotten.");
    (list.querySelector("button") ?? part("prompt")).focus();
  }

  function turn(by) {
    const next = shown[place(current) + by];
    if (place(current) < 0 || !next) return;
    open(next.entry);
    if (viewer.contains(document.activeElement) && document.activeElement !== viewer) return;
    part("viewer-close").focus(); // the button that was pressed may not be pressed any more
  }

  part("viewer-close").addEventListener("click", () => viewer.close());
  part("viewer-newer").addEventListener("click", () => turn(-1));
  part("viewer-older").addEventListener("click", () => turn(1));
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); }); // beside the dialog
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });

  let sure = null;
  part("history-clear").addEventListener("click", async (event) => {
    // The second press does it: the pictures are nowhere else.
    if (sure === null) {
      event.target.textContent = "Clear all pictures?";
      sure = setTimeout(() => { sure = null; event.target.textContent = "Clear"; }, 4000);
      act.say("Press again to clear all pictures of the history.");
      return;
    }
    clearTimeout(sure);
    sure = null;
    event.target.textContent = "Clear";
    await history.clear();
    await refresh();
    act.say("The history is empty.");
    part("prompt").focus();
  });

  refresh();
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); }); // there may be another tab
  return {
    async add(entry) {
      const kept = await history.add(entry);
      await refresh();
      return kept;
    },
    open,
  };
}
