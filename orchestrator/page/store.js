// The runs of this browser, in IndexedDB: bounded in number and bytes. Falls back to memory where there is none.

const NAME = "orchestrator";
const RUNS = "runs";
const MOST = 40;
const BYTES = 150_000_000;

export class Store {
  #runs = new Map();
  #database = null;

  /** Reads what there is. */
  async open() {
    try {
      this.#database = await opened();
      const all = await asked(this.#database.transaction(RUNS).objectStore(RUNS).getAll());
      for (const run of all) this.#runs.set(run.id, run);
    } catch {
      this.#database = null; // a private window, or no room: the history lasts as long as the page
    }
  }

  /** The newest first. */
  all() {
    return [...this.#runs.values()].sort((one, other) => other.created - one.created);
  }

  get(id) {
    return this.#runs.get(id);
  }

  /** Keeps a run, and drops the oldest ones where that takes too much. */
  async put(run) {
    this.#runs.set(run.id, run);
    const dropped = tooMuch(this.all());
    for (const { id } of dropped) this.#runs.delete(id);
    await this.#write((runs) => {
      for (const { id } of dropped) runs.delete(id);
      if (this.#runs.has(run.id)) runs.put(run);
    });
  }

  async remove(id) {
    this.#runs.delete(id);
    await this.#write((runs) => runs.delete(id));
  }

  async clear() {
    this.#runs.clear();
    await this.#write((runs) => runs.clear());
  }

  async #write(change) {
    if (!this.#database) return;
    try {
      const transaction = this.#database.transaction(RUNS, "readwrite");
      change(transaction.objectStore(RUNS));
      await new Promise((done, failed) => {
        transaction.oncomplete = done;
        transaction.onabort = transaction.onerror = () => failed(transaction.error);
      });
    } catch {
      // no room on the disk: the run is still in memory
    }
  }
}

/** Those of the runs, newest first, that are beyond the bounds; the newest always stays. */
export function tooMuch(runs, most = MOST, bytes = BYTES) {
  let sum = 0;
  return runs.filter((run, at) => {
    sum += weight(run);
    return at > 0 && (at >= most || sum > bytes);
  });
}

function weight(run) {
  const blobs = [run.result, run.before, run.thumb, ...Object.values(run.files ?? {})];
  return [...new Set(blobs.filter(Boolean))].reduce((sum, blob) => sum + blob.size, 0);
}

function opened() {
  return new Promise((done, failed) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(RUNS, { keyPath: "id" });
    request.onsuccess = () => done(request.result);
    request.onerror = request.onblocked = () => failed(request.error);
  });
}

function asked(request) {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}
