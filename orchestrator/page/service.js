// The HTTP API as the page needs it. The only module that calls fetch for it; knows nothing of what is shown.

import { readEvents } from "./stream.js";

const KEY = "orchestrator.api-key";
const ENDED = ["succeeded", "failed", "cancelled"];
const PAUSES = [500, 1000, 2000, 4000, 8000];

/** What the service answers in place of what was asked for; `fields` are its complaints, each with field and message. */
export class Problem extends Error {
  constructor(status, body, retryAfter = null) {
    super(body.detail || `The service answered ${status}`);
    this.status = status;
    this.code = body.code ?? "";
    this.fields = body.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** No answer came at all. */
export class Unreachable extends Error {
  constructor() {
    super("The service cannot be reached. Is it running?");
  }
}

/** True when the job has ended. */
export const hasEnded = (job) => ENDED.includes(job.state);

/** An image's link as this page can load it: from the page's own origin, whatever the service calls itself. */
export function ownAddress(url) {
  const at = url.indexOf("/images/");
  return at < 0 ? url : `.${url.slice(at)}`;
}

/** 128 random bits; crypto.randomUUID is missing where the page is not served over HTTPS. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Service {
  #key = localStorage.getItem(KEY) ?? "";

  get key() {
    return this.#key;
  }

  /** Kept in this browser only; "" forgets it. */
  set key(value) {
    this.#key = value.trim();
    if (this.#key) localStorage.setItem(KEY, this.#key);
    else localStorage.removeItem(KEY);
  }

  widgets() {
    return this.#json("widgets").then((answer) => answer.widgets);
  }

  schema(name) {
    return this.#json(`widgets/${encodeURIComponent(name)}`);
  }

  samplers() {
    return this.#json("samplers");
  }

  /** The models that need no download. */
  models() {
    return this.#json("models");
  }

  job(id) {
    return this.#json(`jobs/${id}`);
  }

  cancel(id) {
    return this.#json(`jobs/${id}`, { method: "DELETE" });
  }

  /** A file of the API, with the key if there is one. */
  async file(address) {
    const answer = await this.#fetch(address);
    return answer.blob();
  }

  /** The image behind a link that needs no key; null when it has expired. */
  async image(address) {
    const answer = await reach(address);
    return answer.ok ? answer.blob() : null;
  }

  /** Posts a form and answers the job at once. Sent again after a broken connection, under one key: it is one job. */
  async submit(widget, form, type) {
    const headers = { Prefer: "respond-async", "Idempotency-Key": newKey(), Accept: type };
    const request = { method: "POST", headers, body: form };
    for (const pause of PAUSES.slice(0, 3)) {
      try {
        return await this.#json(`widgets/${encodeURIComponent(widget)}`, request);
      } catch (fault) {
        if (fault instanceof Problem) throw fault;
        await sleep(pause);
      }
    }
    return this.#json(`widgets/${encodeURIComponent(widget)}`, request);
  }

  /** Yields `{kind, ...}` for each event of the job until its end; goes on where it was after a broken connection. */
  async *events(id) {
    let last = "0";
    for (let failures = 0; ; ) {
      try {
        const answer = await this.#fetch(`jobs/${id}/events`, { headers: { "Last-Event-ID": last } });
        if (answer.status === 204) {
          const job = await this.job(id);
          yield { ...job, kind: job.state };
          return;
        }
        for await (const told of readEvents(answer.body)) {
          failures = 0;
          last = told.id ?? last;
          const event = { ...parsed(told.data), kind: told.event };
          yield event;
          if (ENDED.includes(event.kind)) return;
        }
      } catch (fault) {
        if (fault instanceof Problem && fault.status < 500) throw fault;
        if (failures >= 30) throw fault instanceof Problem ? fault : new Unreachable();
      }
      await sleep(PAUSES[Math.min(failures++, PAUSES.length - 1)]);
    }
  }

  async #json(address, options) {
    const answer = await this.#fetch(address, options);
    return parsed(await answer.text());
  }

  async #fetch(address, options = {}) {
    const headers = { ...options.headers };
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    const answer = await reach(`./${address}`, { ...options, headers, cache: "no-store" });
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, body, answer.headers.get("Retry-After"));
  }
}

async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch {
    throw new Unreachable();
  }
}

/** JSON in which a seed too large for a number of this language, whose last digits would be lost, is text. */
function parsed(text) {
  return JSON.parse(text.replace(/("seed":\s*)(\d{16,})/g, '$1"$2"'));
}

function sleep(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}
