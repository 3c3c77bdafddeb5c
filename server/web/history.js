// The pictures of before, in this browser's IndexedDB; in memory where the browser keeps nothing.

const DATABASE = "graph-runtime";
const STORE = "pictures";
const MOST = 60;

let memory = null; // the entries, where there is no database
let database = null;

/**
 * All entries, newest first.
 *
 * An entry is {id, when, took, settings, edit, seed, size, steps, blob}: when and took in milliseconds, settings as readSettings() gives
 * them, edit as watchPicture().edit() does.
 */
export async function entries() {
  const store = await open("readonly");
  const found = store === null ? [...memory] : await result(store.getAll());
  return found.reverse();
}

/** Keep one; the oldest go where there are too many. Returns it with its id. */
export async function add(entry) {
  const store = await open("readwrite");
  if (store === null) return addToMemory(entry);
  try {
    return await addTo(store, entry, MOST);
  } catch {
    // There is no room, say: once more with half of what there is; then from now on nothing more is written.
  }
  try {
    await keepNewest(await open("readwrite"), MOST / 2);
    return await addTo(await open("readwrite"), entry, MOST);
  } catch {
    memory ??= (await entries()).reverse();
    return addToMemory(entry);
  }
}

/** Forget one. */
export async function remove(id) {
  const store = await open("readwrite");
  if (store === null) memory = memory.filter((entry) => entry.id !== id);
  else await result(store.delete(id));
}

/** Forget all. */
export async function clear() {
  const store = await open("readwrite");
  memory = memory === null ? null : [];
  if (store !== null) await result(store.clear());
}

async function addTo(store, entry, most) {
  const id = await result(store.add(entry));
  await keepNewest(store, most);
  return { ...entry, id };
}

async function keepNewest(store, most) {
  const keys = await result(store.getAllKeys());
  for (const old of keys.slice(0, Math.max(0, keys.length - most))) store.delete(old);
}

function addToMemory(entry) {
  memory ??= [];
  const kept = { ...entry, id: (memory.at(-1)?.id ?? 0) + 1 };
  memory = [...memory, kept].slice(-MOST);
  return kept;
}

/** The store in a transaction of its own, or null where entries are kept in memory. */
async function open(mode) {
  if (memory !== null) return null;
  try {
    database ??= await openDatabase();
    return database.transaction(STORE, mode).objectStore(STORE);
  } catch {
    memory = [];
    return null;
  }
}

function openDatabase() {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  return result(opening);
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
