// A mask as it is painted: one canvas whose alpha says where, and what can be undone. Knows no pointer and no key.

const STEPS = 60;
const BUDGET = 96_000_000; // bytes that undoing may hold
const LONGEST = 2048; // a mask is stretched to its picture's size by the service, so it need not be larger
const COLOUR = "rgb(236 72 121)";

export class Painting extends EventTarget {
  #context;
  #committed; // alpha of each pixel as of the last step
  #done = [];
  #undone = [];
  #dirty = null;

  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.#context = canvas.getContext("2d", { willReadFrequently: true });
  }

  /** Begins anew, empty, for a picture of that size in pixels. */
  reset(width, height) {
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.#committed = new Uint8Array(this.canvas.width * this.canvas.height);
    this.#done = [];
    this.#undone = [];
    this.#dirty = null;
    this.#tell();
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  get isEmpty() {
    return !this.#committed?.some((alpha) => alpha > 127);
  }

  /** A line of round dabs from one point to another, in the canvas's pixels. */
  line(from, to, diameter, erase) {
    const context = this.#context;
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = COLOUR;
    context.lineWidth = diameter;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y + (from.x === to.x && from.y === to.y ? 0.01 : 0)); // a line of no length paints nothing
    context.stroke();
    context.globalCompositeOperation = "source-over";
    const reach = diameter / 2 + 2;
    this.#touch(
      Math.min(from.x, to.x) - reach,
      Math.min(from.y, to.y) - reach,
      Math.max(from.x, to.x) + reach,
      Math.max(from.y, to.y) + reach,
    );
  }

  /** Makes one step to undo of all that was painted since the last. */
  commit() {
    const area = this.#dirty;
    this.#dirty = null;
    if (!area || area.width <= 0 || area.height <= 0) return;
    const before = this.#cut(area);
    const after = alphaOf(this.#context.getImageData(area.x, area.y, area.width, area.height));
    this.#paste(area, after);
    this.#done.push({ area, before, after });
    this.#undone = [];
    this.#forget();
    this.#tell();
  }

  /** Takes back what was painted since the last step, as when a second finger shows that it was no stroke. */
  abandon() {
    const area = this.#dirty;
    this.#dirty = null;
    if (area && area.width > 0 && area.height > 0) this.#show(area, this.#cut(area));
  }

  undo() {
    this.#step(this.#done, this.#undone, "before");
  }

  redo() {
    this.#step(this.#undone, this.#done, "after");
  }

  clear() {
    this.#replace(() => 0);
  }

  invert() {
    this.#replace((alpha) => 255 - alpha);
  }

  /** Takes over another picture as the mask: white is painted, black is not, whatever its size. */
  load(picture) {
    const { width, height } = this.canvas;
    const sheet = new OffscreenCanvas(width, height).getContext("2d");
    sheet.fillStyle = "black";
    sheet.fillRect(0, 0, width, height);
    sheet.drawImage(picture, 0, 0, width, height);
    const { data } = sheet.getImageData(0, 0, width, height);
    this.#replace((_, at) => Math.round(0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2]));
  }

  /** The mask as a PNG: white on black. */
  async toBlob() {
    const { width, height } = this.canvas;
    const sheet = new OffscreenCanvas(width, height);
    const context = sheet.getContext("2d");
    const image = context.createImageData(width, height);
    for (let at = 0; at < this.#committed.length; at++) {
      image.data.fill(this.#committed[at], 4 * at, 4 * at + 3);
      image.data[4 * at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return sheet.convertToBlob({ type: "image/png" });
  }

  #replace(alphaAt) {
    const { width, height } = this.canvas;
    const area = { x: 0, y: 0, width, height };
    const before = this.#committed;
    const after = before.map(alphaAt);
    this.#show(area, after);
    this.#paste(area, after);
    this.#done.push({ area, before, after });
    this.#undone = [];
    this.#forget();
    this.#tell();
  }

  #step(from, to, which) {
    const step = from.pop();
    if (!step) return;
    to.push(step);
    this.#show(step.area, step[which]);
    this.#paste(step.area, step[which]);
    this.#tell();
  }

  #touch(left, top, right, bottom) {
    const old = this.#dirty ?? { x: Infinity, y: Infinity, width: -Infinity, height: -Infinity };
    const x = Math.max(0, Math.min(old.x, Math.floor(left)));
    const y = Math.max(0, Math.min(old.y, Math.floor(top)));
    const endX = Math.min(this.canvas.width, Math.max(old.x + old.width || 0, Math.ceil(right)));
    const endY = Math.min(this.canvas.height, Math.max(old.y + old.height || 0, Math.ceil(bottom)));
    this.#dirty = { x, y, width: endX - x, height: endY - y };
  }

  #cut({ x, y, width, height }) {
    const cut = new Uint8Array(width * height);
    for (let row = 0; row < height; row++) {
      const start = (y + row) * this.canvas.width + x;
      cut.set(this.#committed.subarray(start, start + width), row * width);
    }
    return cut;
  }

  #paste({ x, y, width, height }, alpha) {
    if (width * height === this.#committed.length) {
      this.#committed = alpha;
      return;
    }
    const next = this.#committed.slice(); // steps may hold the old one
    for (let row = 0; row < height; row++) {
      next.set(alpha.subarray(row * width, (row + 1) * width), (y + row) * this.canvas.width + x);
    }
    this.#committed = next;
  }

  #show({ x, y, width, height }, alpha) {
    const image = this.#context.createImageData(width, height);
    for (let at = 0; at < alpha.length; at++) {
      image.data.set([236, 72, 121, alpha[at]], 4 * at);
    }
    this.#context.putImageData(image, x, y);
  }

  #forget() {
    let bytes = 0;
    const size = (step) => step.before.length + step.after.length;
    for (let at = this.#done.length - 1; at >= 0; at--) {
      bytes += size(this.#done[at]);
      if (this.#done.length - at > STEPS || (bytes > BUDGET && at < this.#done.length - 1)) {
        this.#done.splice(0, at + 1);
        return;
      }
    }
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

function alphaOf({ data }) {
  const alpha = new Uint8Array(data.length / 4);
  for (let at = 0; at < alpha.length; at++) alpha[at] = data[4 * at + 3];
  return alpha;
}
