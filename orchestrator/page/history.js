// The list of earlier runs below the stage. The store keeps them; what a click does is handed in.

import { byId, make } from "./element.js";

const THUMB = 192; // pixels on the longer side

export class History {
  #addresses = [];

  constructor(store, { show, clear }) {
    this.store = store;
    this.show = show;
    byId("history-clear").addEventListener("click", clear);
  }

  /** Draws the list anew; `current` is the id of the run on the stage. */
  draw(current = null) {
    const focused = document.activeElement?.dataset?.run;
    for (const address of this.#addresses.splice(0)) URL.revokeObjectURL(address);
    const runs = this.store.all();
    byId("history").hidden = runs.length === 0;
    byId("history-list").replaceChildren(...runs.map((run) => this.#item(run, run.id === current)));
    if (focused) byId("history-list").querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(run, isCurrent) {
    const when = new Date(run.created * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    const what = run.values.prompt?.trim() || run.title;
    const picture = run.thumb ? make("img", { alt: "", src: this.#address(run.thumb) }) : make("span", { class: `mark ${run.state}` });
    const state = run.state === "succeeded" ? "" : ` (${run.state})`;
    const button = make(
      "button",
      { type: "button", onclick: () => this.show(run), title: `${what}\n${when}${state}`, ariaLabel: `${what}, ${when}${state}` },
      picture,
      make("span", { class: "caption" }, what),
    );
    button.dataset.run = run.id;
    if (isCurrent) button.setAttribute("aria-current", "true");
    return make("li", {}, button);
  }

  #address(blob) {
    const address = URL.createObjectURL(blob);
    this.#addresses.push(address);
    return address;
  }
}

/** A small copy of a picture. */
export async function thumbnail(blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, THUMB / Math.max(bitmap.width, bitmap.height));
  const sheet = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  sheet.getContext("2d").drawImage(bitmap, 0, 0, sheet.width, sheet.height);
  bitmap.close();
  return sheet.convertToBlob({ type: "image/webp", quality: 0.8 });
}
