// Talks with the server that this page came from: its addresses, its API key, its errors.

/** Where the application is, with a slash at the end: everything it has lies below. This file is ROOT/web/server.js. */
export const root = new URL("../", import.meta.url);

const KEY = `graph-runtime API key of ${root.pathname}`;

/** What this tab remembers; in memory where the browser lets pages keep nothing. */
const kept = {
  memory: null,
  get() {
    try {
      return sessionStorage.getItem(KEY);
    } catch {
      return this.memory;
    }
  },
  set(key) {
    this.memory = key;
    try {
      if (key === null) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, key);
    } catch {
      // Until the page is left, then.
    }
  },
};

/** The address of something below the root, such as "v3/models". Segments that hold names go through encodeURIComponent first. */
export function address(path) {
  return new URL(path, root);
}

/**
 * Something that did not work, in words for whoever uses the page.
 *
 * status is the HTTP status, 0 where there was no answer; code and param are those of the server, or null; retryAfter is in how many
 * seconds to try again, or null.
 */
export class ServerError extends Error {
  constructor(message, { status = 0, code = null, param = null, retryAfter = null } = {}) {
    super(message);
    this.name = "ServerError";
    Object.assign(this, { status, code, param, retryAfter });
  }
}

/**
 * fetch, below the root: with the API key, which is asked for where the server wants one.
 *
 * Returns the Response if the status is 2xx. Throws a ServerError otherwise, and the AbortError of options.signal.
 */
export async function ask(path, options = {}) {
  for (;;) {
    const key = kept.get();
    const headers = new Headers(options.headers);
    if (key !== null) headers.set("Authorization", `Bearer ${key}`);
    let response;
    try {
      response = await fetch(address(path), { ...options, headers, cache: "no-store", credentials: "same-origin" });
    } catch (error) {
      throw broken(error, "The server does not answer. Is it still running?");
    }
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.status !== 401) throw error;
    // Somebody else may have brought a key meanwhile: it is tried before anyone is asked again.
    if (kept.get() === key && !(await askForKey(key !== null, options.signal))) throw error;
  }
}

/** The JSON value behind an address. */
export async function askJson(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    throw broken(error, "The server's answer broke off.");
  }
}

/** The events of a text/event-stream, as {event, data}; data is the text. Ends at the end of the stream. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      let read;
      try {
        read = await reader.read();
      } catch (error) {
        throw broken(error, "The connection broke off before the picture was there.");
      }
      if (read.done) return;
      buffer += read.value;
      const blocks = buffer.split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) {
        const found = { event: "message", data: [] };
        for (const line of block.split("\n")) {
          if (line.startsWith("event:")) found.event = line.slice(6).trim();
          else if (line.startsWith("data:")) found.data.push(line.slice(5).replace(/^ /, ""));
        }
        if (found.data.length) yield { event: found.event, data: found.data.join("\n") };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A ServerError from the body of an error: OpenAI's form, {"error": {"message", ...}}, or KServe's, {"error": "text"}. */
export function errorFrom(body, { status = 0, retryAfter = null } = {}) {
  const told = body?.error;
  if (typeof told === "string") return new ServerError(told, { status, retryAfter });
  const { message, code = null, param = null } = told ?? {};
  return new ServerError(message ?? `The server answered with the status ${status}.`, { status, code, param, retryAfter });
}

async function errorOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const body = await response.json().catch(() => null); // a proxy's page, or nothing at all
  return errorFrom(body, { status: response.status, retryAfter });
}

function broken(error, message) {
  return error.name === "AbortError" ? error : new ServerError(message);
}

let asking = null;

/** Ask for the API key in a dialog, once for all who need it; resolves to whether there is one to try. */
function askForKey(wasWrong, signal) {
  if (signal?.aborted) return Promise.resolve(false);
  asking ??= showDialog(wasWrong).finally(() => { asking = null; });
  return asking;
}

function showDialog(wasWrong) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "key-title");
  dialog.innerHTML = `
    <form method="dialog">
      <h2 id="key-title">API key</h2>
      <p id="key-help">This server asks for an API key. This tab keeps it until it is closed.</p>
      <p id="key-wrong" class="bad" role="alert" hidden>The key is wrong.</p>
      <p><label for="key-field">API key</label></p>
      <input id="key-field" type="password" autocomplete="off" required pattern="[ -~]+" title="printable ASCII characters"
             aria-describedby="key-help key-wrong">
      <div class="buttons">
        <button class="primary" value="use">Use this key</button>
        <button type="button" id="key-cancel">Cancel</button>
      </div>
    </form>`;
  document.body.append(dialog);
  const field = dialog.querySelector("#key-field");
  dialog.querySelector("#key-wrong").hidden = !wasWrong;
  dialog.querySelector("#key-cancel").addEventListener("click", () => dialog.close(""));
  const before = document.activeElement;
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" ? field.value.trim() : "";
      kept.set(given || null);
      dialog.remove();
      before?.focus?.();
      resolve(Boolean(given));
    });
    dialog.showModal();
    field.focus();
  });
}
