// The picture to start from: dropped, pasted, chosen or taken from a result; and the tools to paint a mask on it.

import { makeMask } from "./mask.js";

const TAKEN_BY_SERVER = ["image/png", "image/jpeg", "image/webp"];

const part = (id) => document.getElementById(id);

/**
 * Watch for pictures.
 *
 * changed(): there is another picture, or none. refuse(message): a file that is no picture. say(text): for those who do not see it.
 * Returns {use(blob, name), remove(), edit(), restore(edit), present, paints(possible)}: edit() resolves to {file, name, mask}, or null.
 */
export function watchPicture({ changed, refuse, say }) {
  let current = null;
  const mask = makeMask(part("mask"), part("brush"), { changed: showTools, say });

  function showTools() {
    part("mask-paint").setAttribute("aria-pressed", String(!mask.erasing));
    part("mask-erase").setAttribute("aria-pressed", String(mask.erasing));
    part("mask-undo").disabled = !mask.canUndo;
    part("brush-size").value = mask.percent;
    part("brush-size").setAttribute("aria-valuetext", `${mask.percent} % of the picture`);
  }

  async function use(blob, name) {
    let read;
    try {
      read = await readPicture(blob);
    } catch {
      refuse(`${name} cannot be read as a picture. PNG, JPEG and WebP files can.`);
      return;
    }
    forget();
    current = { ...read, name };
    // With its size, so that there is room for it before it is shown.
    Object.assign(part("source"), { src: read.url, width: read.width, height: read.height });
    part("source").alt = `The picture to start from: ${name}`;
    const shownName = Object.assign(document.createElement("bdi"), { textContent: name });
    part("input-size").replaceChildren(shownName, `, ${read.width}\u00a0×\u00a0${read.height}`);
    part("input").hidden = false;
    part("input").classList.toggle("wide", read.width > 1.5 * read.height);
    mask.begin(read.width, read.height);
    part("source").scrollIntoView({ block: "nearest" });
    say(`${name} is the picture to start from.`);
    changed();
  }

  function forget() {
    if (current !== null) URL.revokeObjectURL(current.url);
    current = null;
  }

  function remove() {
    forget();
    part("input").hidden = true;
    part("source").removeAttribute("src");
    say("There is no picture to start from any more.");
    changed();
  }

  const takeFile = (file) => { if (file) use(file, file.name || "pasted picture"); };

  part("image").addEventListener("change", (event) => {
    takeFile(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  part("remove").addEventListener("click", () => {
    remove();
    part("image").focus();
  });
  watchDrops(takeFile, refuse);
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    // Text goes where it was pasted, also that of programs which bring a picture of it too.
    if (!file || (event.target.matches("input, textarea") && event.clipboardData.types.includes("text/plain"))) return;
    event.preventDefault();
    takeFile(file);
  });

  part("mask-paint").addEventListener("click", () => mask.erase(false));
  part("mask-erase").addEventListener("click", () => mask.erase(true));
  part("mask-undo").addEventListener("click", () => mask.undo());
  part("mask-invert").addEventListener("click", () => mask.invert());
  part("mask-clear").addEventListener("click", () => mask.clear());
  part("brush-size").addEventListener("input", (event) => mask.size(Number(event.target.value)));
  part("box-add").addEventListener("click", () => {
    const sides = ["left", "top", "right", "bottom"].map((side) => Math.min(100, Math.max(0, Number(part(`box-${side}`).value))));
    if (sides[0] >= sides[2] || sides[1] >= sides[3]) {
      say("Nothing was painted: left must be less than right, and top less than bottom.");
      return;
    }
    mask.box(...sides);
    say(`A rectangle was ${mask.erasing ? "erased" : "painted"}.`);
  });

  let paintable = true;
  return {
    use,
    remove,
    /** Show what edit() gave once more. */
    async restore(edit) {
      await use(edit.file, edit.name);
      if (edit.mask !== null) await mask.load(edit.mask);
    },
    get present() { return current !== null; },
    /** Whether the model draws into masks: else there are no tools for one. */
    paints(possible) {
      paintable = possible;
      part("tools").hidden = part("mask").hidden = !possible;
    },
    async edit() {
      if (current === null) return null;
      return { file: current.file, name: current.name, mask: paintable ? await mask.blob() : null };
    },
  };
}

function watchDrops(take, refuse) {
  let depth = 0; // dragenter and dragleave come for each element on the way
  const carries = (event) => [...event.dataTransfer.types].includes("Files");
  const show = () => document.body.classList.toggle("dragging", depth > 0);
  document.addEventListener("dragenter", (event) => { if (carries(event)) { depth += 1; show(); } });
  document.addEventListener("dragleave", (event) => { if (carries(event)) { depth = Math.max(0, depth - 1); show(); } });
  document.addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    show();
    const files = [...event.dataTransfer.files];
    const file = files.find(({ type }) => type.startsWith("image/")) ?? files[0];
    if (file) take(file);
    else refuse("That was no file. Save the picture first, then drop it here.");
  });
}

/** {file, url, width, height} of a picture; what the server does not read becomes a PNG. Throws what the browser cannot show. */
async function readPicture(given) {
  // Into memory: a browser sends no file that was changed or moved since it was chosen.
  const blob = new Blob([await given.arrayBuffer()], { type: given.type });
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch (error) {
    URL.revokeObjectURL(url);
    throw error;
  }
  const { naturalWidth: width, naturalHeight: height } = image;
  if (TAKEN_BY_SERVER.includes(blob.type)) return { file: blob, url, width, height };
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  const file = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  if (file === null) { // no size of its own, or more than a canvas holds
    URL.revokeObjectURL(url);
    throw new RangeError("no picture");
  }
  return { file, url, width, height };
}
