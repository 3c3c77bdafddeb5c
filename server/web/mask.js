// The mask: what is painted over the picture to start from, by mouse, touch, pen, keyboard or numbers.

const COLOUR = "#e0218a"; // the style sheet makes the canvas half transparent
const LEAST_SIDE = 512; // a small picture gets a finer mask than its own pixels: circles stay round
const MOST_SIDE = 1024;
const PEN_ERASER = 32; // the bit of PointerEvent.buttons for the other end of a pen

/** How each step is painted; all steps together are the mask, and taking one back is to paint the others. */
const PAINT = {
  stroke(context, { erase, width, points }) {
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.lineWidth = width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point);
    context.stroke();
  },
  box(context, { erase, left, top, width, height }) {
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.fillRect(left, top, width, height);
  },
  stamp(context, { drawn }) {
    context.globalCompositeOperation = "source-over";
    context.drawImage(drawn, 0, 0, context.canvas.width, context.canvas.height);
  },
  invert(context) {
    context.globalCompositeOperation = "source-out";
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  },
  clear(context) {
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  },
};

/**
 * Make a canvas a mask that can be painted on.
 *
 * brush: the element that shows where the brush is. changed(): something was painted, or the tool is another one. say(text): for
 * those who do not see it. The mask starts empty; begin() fits it to a picture.
 */
export function makeMask(canvas, brush, { changed, say }) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let steps = [];
  let stroke = null;
  let erasing = false;
  let percent = 12;
  let at = [0, 0]; // where the keyboard's brush is, in pixels of the canvas

  const brushWidth = () => Math.max(1, Math.min(canvas.width, canvas.height) * percent / 100);

  function paint(step) {
    context.strokeStyle = context.fillStyle = COLOUR;
    PAINT[step.kind](context, step);
  }

  function add(step) {
    steps.push(step);
    paint(step);
    changed();
  }

  function showBrush([x, y]) {
    const scale = canvas.clientWidth / canvas.width;
    const width = `${brushWidth() * scale}px`;
    Object.assign(brush.style, { left: `${x * scale}px`, top: `${y * scale}px`, width, height: width });
    brush.hidden = false;
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  }

  function dab(points) {
    add({ kind: "stroke", erase: erasing, width: brushWidth(), points });
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 && !(event.buttons & PEN_ERASER)) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    at = place(event);
    stroke = { kind: "stroke", erase: erasing || Boolean(event.buttons & PEN_ERASER), width: brushWidth(), points: [at] };
    add(stroke);
    showBrush(at);
  });
  canvas.addEventListener("pointermove", (event) => {
    at = place(event);
    showBrush(at);
    if (stroke === null) return;
    const between = event.getCoalescedEvents?.().map(place) ?? [];
    const points = between.length ? between : [at];
    paint({ ...stroke, points: [stroke.points.at(-1), ...points] });
    stroke.points.push(...points);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(end, (event) => {
      stroke = null;
      if (event.pointerType === "touch") brush.hidden = true; // a finger that is lifted is nowhere
    });
  }
  canvas.addEventListener("pointerleave", () => { brush.hidden = document.activeElement !== canvas; });
  canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) showBrush(at); });
  canvas.addEventListener("blur", () => { brush.hidden = true; });

  const whole = (point) => `${Math.round(point[0] * 100 / canvas.width)} % from the left, ${Math.round(point[1] * 100 / canvas.height)} % from the top`;

  function move(x, y, painting) {
    const before = at;
    const stride = brushWidth() / 2;
    at = [Math.min(canvas.width, Math.max(0, at[0] + x * stride)), Math.min(canvas.height, Math.max(0, at[1] + y * stride))];
    if (painting) dab([before, at]);
    say(whole(at));
  }

  const KEYS = {
    ArrowLeft: (event) => move(-1, 0, event.shiftKey),
    ArrowRight: (event) => move(1, 0, event.shiftKey),
    ArrowUp: (event) => move(0, -1, event.shiftKey),
    ArrowDown: (event) => move(0, 1, event.shiftKey),
    " ": () => { dab([at]); say(`${erasing ? "Erased" : "Painted"}, ${whole(at)}`); },
    Enter: () => KEYS[" "](),
    e: () => { mask.erase(!erasing); say(erasing ? "Eraser" : "Brush"); },
    u: () => { mask.undo(); say("Taken back"); },
    i: () => { mask.invert(); say("Inverted"); },
    "+": () => { mask.size(percent + 2); say(`Brush ${percent} %`); },
    "-": () => { mask.size(percent - 2); say(`Brush ${percent} %`); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || ((event.ctrlKey || event.metaKey) && event.key !== "z")) return;
    const act = event.key === "z" ? KEYS.u : KEYS[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act(event);
    showBrush(at);
  });

  const mask = {
    /** Start anew, for a picture of this size in pixels. */
    begin(width, height) {
      const longest = Math.max(width, height);
      const scale = Math.min(MOST_SIDE, Math.max(LEAST_SIDE, longest)) / longest;
      [canvas.width, canvas.height] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
      steps = [];
      at = [canvas.width / 2, canvas.height / 2];
      changed();
    },
    undo() {
      steps.pop();
      PAINT.clear(context);
      steps.forEach(paint);
      changed();
    },
    invert: () => add({ kind: "invert" }),
    clear: () => { if (steps.length) add({ kind: "clear" }); },
    /** Paint a rectangle, or erase it; its sides in percent of the picture. */
    box(left, top, right, bottom) {
      const [x, y] = [left * canvas.width / 100, top * canvas.height / 100];
      add({ kind: "box", erase: erasing, left: x, top: y, width: right * canvas.width / 100 - x, height: bottom * canvas.height / 100 - y });
    },
    /** Paint what is white in a picture, such as one that blob() gave. */
    async load(blob) {
      const bitmap = await createImageBitmap(blob);
      const drawn = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
      const pen = drawn.getContext("2d");
      pen.drawImage(bitmap, 0, 0);
      const pixels = pen.getImageData(0, 0, drawn.width, drawn.height);
      for (let place = 0; place < pixels.data.length; place += 4) pixels.data[place + 3] = pixels.data[place];
      pen.putImageData(pixels, 0, 0);
      pen.globalCompositeOperation = "source-in";
      pen.fillStyle = COLOUR;
      pen.fillRect(0, 0, drawn.width, drawn.height);
      add({ kind: "stamp", drawn });
    },
    /** Whether strokes erase from now on. */
    erase(wanted) {
      erasing = wanted;
      changed();
    },
    /** Set the width of the brush, in percent of the shorter side. */
    size(wanted) {
      percent = Math.min(50, Math.max(1, wanted));
      changed();
    },
    get erasing() { return erasing; },
    get percent() { return percent; },
    get canUndo() { return steps.length > 0; },
    /** What is painted is white, all else black, as a PNG; null where nothing is painted. */
    async blob() {
      const { width, height } = canvas;
      const painted = context.getImageData(0, 0, width, height);
      let any = false;
      for (let place = 0; place < painted.data.length; place += 4) {
        const white = painted.data[place + 3] >= 128;
        any ||= white;
        painted.data.fill(white ? 255 : 0, place, place + 3);
        painted.data[place + 3] = 255;
      }
      if (!any) return null;
      const drawn = Object.assign(document.createElement("canvas"), { width, height });
      drawn.getContext("2d").putImageData(painted, 0, 0);
      return new Promise((resolve) => { drawn.toBlob(resolve, "image/png"); });
    },
  };
  return mask;
}
