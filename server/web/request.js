// One request to draw: its body, its stream, how far it is, and how it is cancelled.

import { ServerError, ask, askJson, errorFrom, events } from "./server.js";

const PARTIAL_IMAGES = 3;
const FIRST_LOOK_MS = 150;
const LOOK_MS = 300;
const DECIMAL = /^-?(0|[1-9]\d*)(\.\d+)?$/;
const WHOLE = /^(0|[1-9]\d*)$/;
const TEXTS = ["model", "prompt", "size", "negative_prompt", "output_format"];
/** Seeds go up to 2**64, numbers of JavaScript are exact up to 2**53: long ones stay text. */
const LONG_SEED = /"seed":\s*(\d{16,})/;

/**
 * Ask the server for pictures.
 *
 * settings: as readSettings() gives them. edit: null, or {file, name, mask}: blobs, mask may be null. tell: what to do meanwhile,
 * {partial(index, blob), completed(index, picture), progress(told)}; a picture is {blob, seed, size, steps, ignored}.
 * Returns {done, cancel()}: done resolves once all pictures are there, and rejects with a ServerError or the AbortError of cancel().
 */
export function draw(settings, edit, tell) {
  const id = newId();
  const stop = new AbortController();
  const followed = new AbortController();
  const done = receive(id, settings, edit, tell, stop.signal).finally(() => followed.abort());
  follow(id, tell.progress, followed.signal);
  return {
    done,
    cancel() {
      // The server also notices that the connection closes; behind a proxy that may take long.
      ask(`v3/requests/${id}/cancel`, { method: "POST", keepalive: true }).catch(() => {});
      stop.abort();
    },
  };
}

async function receive(id, settings, edit, tell, signal) {
  const { path, headers, body } = edit === null ? generation(settings) : edition(settings, edit);
  const response = await ask(path, { method: "POST", headers: { ...headers, "x-request-id": id }, body, signal });
  let count = 0;
  for await (const { data } of events(response)) {
    const event = JSON.parse(data.replace(LONG_SEED, '"seed":"$1"'));
    if (event.error) throw errorFrom(event);
    const index = event.image_index ?? 0;
    const blob = blobOf(event.b64_json, event.output_format);
    if (event.type.endsWith(".partial_image")) tell.partial(index, blob);
    else if (event.type.endsWith(".completed")) {
      count += 1;
      tell.completed(index, {
        blob,
        seed: String(event.seed),
        size: event.size,
        steps: String(event.num_inference_steps),
        ignored: event.ignored_parameters ?? [],
      });
    }
  }
  if (count === 0) throw new ServerError("The connection broke off before the picture was there.");
}

/** A request without a picture: JSON. What is no number goes as it is, so that the server says what is wrong with it. */
function generation(settings) {
  const fields = ['"stream":true', `"partial_images":${PARTIAL_IMAGES}`];
  for (const [name, text] of given(settings)) {
    if (name === "strength") continue; // it has a meaning for edits alone
    const plain = !TEXTS.includes(name) && (name === "rng_seed" ? WHOLE : DECIMAL).test(text);
    fields.push(`${JSON.stringify(name)}:${plain ? text : JSON.stringify(text)}`);
  }
  return { path: "v3/images/generations", headers: { "Content-Type": "application/json" }, body: `{${fields.join(",")}}` };
}

/** A request with a picture: multipart, as OpenAI's clients send edits. */
function edition(settings, edit) {
  const body = new FormData();
  body.append("stream", "true");
  body.append("partial_images", String(PARTIAL_IMAGES));
  for (const [name, text] of given(settings)) body.append(name, text);
  body.append("image", edit.file, edit.name);
  if (edit.mask !== null) body.append("mask", edit.mask, "mask.png");
  return { path: "v3/images/edits", headers: {}, body };
}

function given(settings) {
  return Object.entries(settings).filter(([, text]) => text !== "");
}

/** Ask again and again how far the request is, until it is over; what cannot be told is not. */
async function follow(id, progress, signal) {
  let pause = FIRST_LOOK_MS;
  while (!signal.aborted) {
    await new Promise((resolve) => { setTimeout(resolve, pause); });
    if (signal.aborted) return;
    pause = LOOK_MS;
    try {
      const told = await askJson(`v3/requests/${id}`, { signal });
      if (!signal.aborted) progress(told);
    } catch (error) {
      if (error.status === 401) return;
    }
  }
}

/** An id that nobody guesses: whoever knows it can cancel the request. crypto.randomUUID is missing on plain http addresses. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page_${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function blobOf(base64, format) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: `image/${format}` });
}
