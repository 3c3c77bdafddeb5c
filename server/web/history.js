// The pictures of before, in this browser's IndexedDB; in memory where the browser keeps nothing.

const DATABASE = "graph-runtime";
const STORE = "pictures";
const MOST = 60;

let memory = null; // where nothing can be written: the entries that were there, and those since then
let unwritten = 0;
let database = null;

/**
 * All entries, newest first.
 *
 * An entry is {id, when, took, settings, edit, seed, size, steps, blob}: when and took in milliseconds, settings as readSettings() gives
 * them, edit as watchPicture().edit() does.
 */
export async function entries() {
  if (memory === null) {
    try {
      const found = await inTransaction("readonly", (store) => store.getAll());
      return found.reverse();
    } catch {
      memory = [];
    }
  }
  return [...memory].reverse();
}

/** Keep one; the oldest go where there are too many. Returns it with its id. */
export async function add(entry) {
  if (memory === null) {
    try {
      return await write(entry);
    } catch {
      // There is no room, say: once more with half of what there is; then from now on nothing more is written.
    }
    try {
      await inTransaction("readwrite", (store) => keepNewest(store, MOST / 2));
      return await write(entry);
    } catch {
      const found = await entries();
      memory = found.reverse();
    }
  }
  const kept = { ...entry, id: `unwritten ${unwritten += 1}` };
  memory = [...memory, kept].slice(-MOST);
  return kept;
}

/** Forget one. */
export async function remove(id) {
  memory = memory?.filter((entry) => entry.id !== id) ?? null;
  await erase((store) => store.delete(id));
}

/** Forget all. */
export async function clear() {
  if (memory !== null) memory = [];
  await erase((store) => store.clear());
}

/** What could be written once is forgotten for good, even if nothing more can be written now. */
async function erase(how) {
  try {
    await inTransaction("readwrite", how);
  } catch (error) {
    if (memory === null) throw error;
  }
}

async function write(entry) {
  const id = await inTransaction("readwrite", (store) => {
    const adding = store.add(entry);
    keepNewest(store, MOST);
    return adding;
  });
  return { ...entry, id };
}

function keepNewest(store, most) {
  const listing = store.getAllKeys();
  listing.onsuccess = () => {
    for (const old of listing.result.slice(0, Math.max(0, listing.result.length - most))) store.delete(old);
  };
  return listing;
}

/** What a request came to, once the whole transaction is over: a full disk is noticed at its end. */
async function inTransaction(mode, act) {
  database ??= await openDatabase();
  const transaction = database.transaction(STORE, mode);
  return new Promise((resolve, reject) => {
    const request = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

function openDatabase() {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  return new Promise((resolve, reject) => {
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}
