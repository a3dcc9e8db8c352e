// How far a job is: a sentence, a bar, the picture as it comes. Says to screen readers what changes, not every step.

import { announce, make } from "./element.js";

export class Progress {
  /** `before` is the picture that is being repainted, or null. */
  constructor(oncancel, before) {
    this.text = make("p", { class: "progress-text" });
    this.bar = make("progress", { ariaLabel: "Progress" });
    this.preview = make("img", { class: "preview", alt: "The picture so far", hidden: true });
    this.waiting = make("span", { class: "pulse" });
    this.ghost = before ? make("img", { class: "ghost", alt: "", src: URL.createObjectURL(before) }) : null;
    this.cancel = make("button", { type: "button", class: "quiet", onclick: oncancel }, "Cancel");
    this.element = make(
      "div",
      { class: "progress" },
      make("div", { class: "canvas" }, this.ghost, this.waiting, this.preview),
      make("div", { class: "progress-line" }, make("div", { class: "progress-words" }, this.text, this.bar), this.cancel),
    );
    this.tell({ kind: "sending" });
  }

  /** Shows one event of the job. */
  tell(event) {
    if (event.kind === "preview") return this.#show(event);
    const { text, done, heard } = described(event);
    this.text.textContent = text;
    // What was reached stays while nobody knows more, as after the last step; a bar that goes back tells nothing.
    if (done !== null) this.bar.value = done;
    else if (event.kind !== this.kind) this.bar.removeAttribute("value");
    this.kind = event.kind;
    if (heard !== this.heard) announce((this.heard = heard));
  }

  #show(event) {
    const source = Object.values(event).find((text) => typeof text === "string" && text.startsWith("data:image/"));
    if (!source) return;
    this.preview.src = source;
    this.preview.hidden = false;
    this.waiting.hidden = true;
    this.ghost?.remove();
  }
}

/** `{text, done, heard}`: what is shown, how much of it is done (0 to 1, null: unknown), what is said aloud. */
export function described(event) {
  const quiet = (text, done = null) => ({ text, done, heard: text });
  switch (event.kind) {
    case "sending":
      return quiet("Sending your pictures…");
    case "fetching":
      return { ...fetching(event), heard: "Fetching the model" };
    case "queued":
      return quiet(queued(event));
    case "requeued":
      return quiet(`The backend was lost; running again (attempt ${event.attempt})`);
    case "running":
      return running(event);
    default:
      return quiet(event.kind);
  }
}

function queued({ place, eta }) {
  const turn = place ? `${place} ${place === 1 ? "job is" : "jobs are"} before yours` : "Next in line";
  return eta == null ? turn : `${turn}; done in about ${duration(eta)}`;
}

function fetching({ model, received_bytes: received = 0, total_bytes: total, seconds_left: left }) {
  if (!model) return { text: "Looking for the model…", done: null };
  const much = total ? `${size(received)} of ${size(total)}` : size(received);
  const rest = left == null ? "" : `, about ${duration(left)} left`;
  return { text: `Fetching model ${model}: ${much}${rest}`, done: total ? received / total : null };
}

function running({ node, step = 0, steps = 0 }) {
  const where = node || "Starting";
  // How much of the time the nodes without steps take, nobody knows.
  if (steps <= 1) return { text: `${where}…`, done: null, heard: "Running" };
  const quarter = Math.floor((4 * step) / steps) * 25;
  return { text: `${where}: step ${step} of ${steps}`, done: step / steps, heard: `Painting, ${quarter} %` };
}

/** Seconds in words. */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function size(bytes) {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
