// Hands on a painting: mouse, pen, finger and keyboard become strokes. Knows nothing of the picture beneath.

import { announce, make } from "./element.js";

const ERASER_BUTTON = 32; // of a pen, as `buttons` tells it

export class Brush {
  size = 40; // diameter in the canvas's pixels
  erasing = false;
  #painting;
  #canvas;
  #ring = make("span", { class: "ring", hidden: true });
  #cross = make("span", { class: "cross", hidden: true });
  #pointer = null;
  #last = null;
  #spot = null; // of the keyboard's crosshair
  #down = false;

  /** `commands` are called by name: resize(factor), tool(erase). */
  constructor(painting, frame, commands) {
    this.#painting = painting;
    this.#canvas = painting.canvas;
    this.commands = commands;
    frame.append(this.#ring, this.#cross);
    const listen = (name, heard) => this.#canvas.addEventListener(name, heard);
    listen("pointerdown", (event) => this.#press(event));
    listen("pointermove", (event) => this.#move(event));
    listen("pointerup", (event) => this.#release(event));
    listen("pointercancel", () => this.#abandon());
    listen("pointerleave", () => (this.#ring.hidden = true));
    listen("keydown", (event) => this.#key(event));
    listen("blur", () => this.#lift());
  }

  #press(event) {
    if (this.#pointer !== null) return this.#abandon(); // a second finger: it is a pinch
    if (!event.isPrimary || event.button > 0 && event.buttons !== ERASER_BUTTON) return;
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#cross.hidden = true;
    this.#last = this.#at(event);
    this.#stroke(this.#last, event);
  }

  #move(event) {
    this.#showRing(event);
    if (event.pointerId !== this.#pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.#stroke(this.#at(each), event);
  }

  #release(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#painting.commit();
  }

  #abandon() {
    this.#pointer = null;
    this.#painting.abandon();
  }

  #stroke(to, event) {
    const erase = this.erasing || event.buttons === ERASER_BUTTON;
    this.#painting.line(this.#last, to, this.size, erase);
    this.#last = to;
  }

  /** Where an event is, in the canvas's pixels; holds however the page is zoomed or scrolled. */
  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    const scale = this.#canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  #showRing(event) {
    this.#ring.hidden = event.pointerType === "touch";
    if (!this.#ring.hidden) this.#place(this.#ring, this.#at(event));
  }

  #place(mark, spot) {
    const scale = this.#canvas.clientWidth / this.#canvas.width;
    mark.style.left = `${spot.x * scale}px`;
    mark.style.top = `${spot.y * scale}px`;
    mark.style.width = mark.style.height = `${this.size * scale}px`;
    mark.classList.toggle("erasing", this.erasing);
  }

  #key(event) {
    const control = event.ctrlKey || event.metaKey;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const done = control ? this.#withControl(name, event.shiftKey) : !event.altKey && this.#alone(name, event.shiftKey);
    if (done) event.preventDefault();
  }

  #withControl(name, shift) {
    if (name === "z") shift ? this.#painting.redo() : this.#painting.undo();
    else if (name === "y") this.#painting.redo();
    else return false;
    return true;
  }

  #alone(name, far) {
    const step = Math.max(1, Math.round(Math.max(this.#canvas.width, this.#canvas.height) / 64)) * (far ? 4 : 1);
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (name in ways) this.#walk(...ways[name]);
    else if (name === " ") this.#toggle();
    else if (name === "Escape" && this.#down) this.#lift();
    else if (name === "[" || name === "]") this.commands.resize(name === "[" ? 0.8 : 1.25);
    else if (name === "b" || name === "e") this.commands.tool(name === "e");
    else return false;
    if (this.#spot) this.#place(this.#cross, this.#spot);
    return true;
  }

  #walk(right, down) {
    const { width, height } = this.#canvas;
    const from = this.#spot ?? { x: width / 2, y: height / 2 };
    const clamp = (value, end) => Math.min(end, Math.max(0, value));
    this.#spot = this.#spot ? { x: clamp(from.x + right, width), y: clamp(from.y + down, height) } : from;
    this.#cross.hidden = false;
    if (this.#down) this.#painting.line(from, this.#spot, this.size, this.erasing);
    const [x, y] = [this.#spot.x / width, this.#spot.y / height].map((part) => Math.round(part * 100));
    announce(`${x} % from the left, ${y} % from the top`);
  }

  #toggle() {
    if (this.#down) return this.#lift();
    if (!this.#spot) this.#walk(0, 0);
    this.#down = true;
    this.#cross.classList.add("down");
    this.#painting.line(this.#spot, this.#spot, this.size, this.erasing);
    announce(this.erasing ? "Erasing; move with the arrow keys, Space lifts" : "Painting; move with the arrow keys, Space lifts");
  }

  #lift() {
    if (!this.#down) return;
    this.#down = false;
    this.#cross.classList.remove("down");
    this.#painting.commit();
    announce("Lifted");
  }
}
