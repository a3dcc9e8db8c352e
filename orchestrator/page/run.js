// One run: sent, followed to its end, its picture fetched while its link works. Knows nothing of where it is shown.

import { thumbnail } from "./history.js";
import { Progress } from "./progress.js";
import { ownAddress } from "./service.js";

export class Run {
  /** `record` is what the history keeps: widget, title, values, files, before; and once it is a job, the rest. */
  constructor(service, record) {
    this.service = service;
    this.record = { state: "queued", created: Date.now() / 1000, ...record };
    this.progress = new Progress(() => this.cancel(), this.record.before);
  }

  /** Makes it a job. Throws a Problem. */
  async submit(type) {
    const body = new FormData();
    for (const [name, text] of Object.entries(this.record.values)) body.append(name, text);
    for (const [name, file] of Object.entries(this.record.files)) body.append(name, file, file.name);
    this.#learn(await this.service.submit(this.record.widget, body, type));
    if (this.cancelled) await this.cancel();
  }

  /** Follows it; the record holds its end, and its picture, afterwards. */
  async toItsEnd() {
    for await (const event of this.service.events(this.record.id)) {
      this.progress.tell(event);
      if (event.id === this.record.id) this.#learn(event);
    }
    if (this.record.state !== "succeeded") return;
    this.record.result = await this.service.image(ownAddress(this.record.url));
    if (this.record.result) this.record.thumb = await thumbnail(this.record.result);
  }

  async cancel() {
    this.cancelled = true;
    this.progress.cancel.disabled = true;
    if (!this.record.id) return; // as soon as it is a job
    await this.service.cancel(this.record.id).catch(() => {}); // too late: its end comes by itself
  }

  #learn(job) {
    const { id, state, seed, created, timings, url, detail, errors } = job;
    const links = { ...job.links, ...(job.editor && { editor: job.editor }) };
    Object.assign(this.record, { id, state, seed, created, timings, url, detail, errors, links });
  }
}
