// A picture that the caller gives, with the mask that is painted on it if the widget has one for it.

import { Brush } from "./brush.js";
import { icon, iconButton, make, save } from "./element.js";
import { Painting } from "./painting.js";

const KEYS =
  "Arrow keys move (Shift: farther), Space puts the brush down and lifts it, [ and ] change its size, " +
  "B brush, E eraser, Ctrl+Z undoes.";

export class Surface extends EventTarget {
  /** `picture` and `mask` are {name, property, required}; mask may be null. */
  constructor(picture, mask) {
    super();
    this.picture = picture;
    this.mask = mask;
    this.file = null;
    this.errors = {};
    this.element = make("section", { class: "surface", ariaLabel: picture.name });
    this.#build();
  }

  #build() {
    const { name, property } = this.picture;
    this.input = make("input", {
      type: "file",
      accept: "image/*",
      id: `file-${name}`,
      class: "unseen",
      ariaLabel: `Picture “${name}”`,
      onchange: (event) => event.target.files[0] && this.open(event.target.files[0]),
    });
    this.drop = make(
      "div",
      { class: "drop" },
      icon("picture"),
      make("p", { class: "drop-title" }, `Drop a picture for “${name}” here`),
      make("p", { class: "drop-or" }, "or paste it, or"),
      make("label", { class: "button", htmlFor: this.input.id }, "choose a file"),
      make("p", { class: "help", id: `help-${name}` }, property.description ?? ""),
    );
    this.input.setAttribute("aria-describedby", `help-${name} error-${name}`);
    this.image = make("img", { alt: "Your picture", draggable: false });
    this.frame = make("div", { class: "frame" }, this.image);
    this.workbench = make("div", { class: "workbench", hidden: true }, this.#tools(), this.frame, this.#below());
    this.errors[name] = this.#error(name);
    this.element.append(this.input, this.drop, this.workbench, this.errors[name]);
    if (this.mask) this.element.append((this.errors[this.mask.name] = this.#error(this.mask.name)));
    this.#takeDrops();
  }

  #error(name) {
    return make("p", { class: "error", id: `error-${name}`, hidden: true });
  }

  #tools() {
    const bar = make("div", { class: "tools", role: "toolbar", ariaLabel: this.mask ? "Mask tools" : "Picture" });
    const change = make("label", { class: "button quiet", htmlFor: this.input.id }, icon("picture"), make("span", {}, "Change picture"));
    if (!this.mask) return (bar.append(change), bar);
    this.canvas = make("canvas", {
      tabIndex: 0,
      role: "application",
      ariaLabel: `Mask “${this.mask.name}”: paint what to repaint`,
    });
    this.canvas.setAttribute("aria-describedby", `keys-${this.mask.name} error-${this.mask.name}`);
    this.frame.append(this.canvas);
    this.painting = new Painting(this.canvas);
    this.brush = new Brush(this.painting, this.frame, {
      resize: (factor) => this.#resize(this.brush.size * factor),
      tool: (erase) => this.#tool(erase),
    });
    this.painting.addEventListener("change", () => this.#maskChanged());
    bar.append(this.#toolChoice(), this.#sizeSlider(), this.#steps(), this.#files(), change);
    return bar;
  }

  #toolChoice() {
    this.tools = [false, true].map((erase) =>
      iconButton(erase ? "eraser" : "brush", erase ? "Eraser" : "Brush", () => this.#tool(erase), { ariaPressed: String(!erase) }),
    );
    return make("span", { class: "joined", role: "group", ariaLabel: "Tool" }, ...this.tools);
  }

  #sizeSlider() {
    this.slider = make("input", {
      type: "range",
      min: 2,
      max: 200,
      id: `size-${this.mask.name}`,
      oninput: () => this.#resize(Number(this.slider.value)),
    });
    this.sizeText = make("output", { for: this.slider.id });
    return make("span", { class: "size" }, make("label", { htmlFor: this.slider.id }, "Size"), this.slider, this.sizeText);
  }

  #steps() {
    const painting = this.painting;
    this.undo = iconButton("undo", "Undo", () => painting.undo());
    this.redo = iconButton("redo", "Redo", () => painting.redo());
    this.clear = iconButton("clear", "Clear the mask", () => painting.clear());
    const invert = iconButton("invert", "Invert the mask", () => painting.invert());
    return make("span", { class: "joined", role: "group", ariaLabel: "Change" }, this.undo, this.redo, invert, this.clear);
  }

  #files() {
    const input = make("input", {
      type: "file",
      accept: "image/*",
      class: "unseen",
      id: `file-${this.mask.name}`,
      ariaLabel: "Upload a mask",
      onchange: async (event) => {
        if (event.target.files[0]) await this.openMask(event.target.files[0]);
        event.target.value = "";
      },
    });
    const upload = make("label", { class: "button quiet square", htmlFor: input.id, title: "Upload a mask" }, icon("upload"));
    const download = iconButton("download", "Save the mask as a file", async () => save(await this.painting.toBlob(), `${this.mask.name}.png`));
    return make("span", { class: "joined", role: "group", ariaLabel: "Mask file" }, input, upload, download);
  }

  #below() {
    if (!this.mask) return "";
    const help = make("p", { class: "help" }, "Paint what is to be repainted. ", make("span", { id: `keys-${this.mask.name}`, class: "keys" }, KEYS));
    return help;
  }

  #takeDrops() {
    const over = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      this.element.classList.toggle("over", event.type !== "dragleave" && event.type !== "drop");
      const file = event.type === "drop" && event.dataTransfer.files[0];
      if (file) this.open(file);
    };
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) this.element.addEventListener(name, over);
  }

  /** Shows a file (or blob) and begins an empty mask; false, with an error beside it, if the browser cannot. */
  async open(file) {
    this.complain(this.picture.name, "");
    const address = URL.createObjectURL(file);
    const image = new Image();
    image.src = address;
    try {
      await image.decode();
    } catch {
      URL.revokeObjectURL(address);
      this.complain(this.picture.name, "is not a picture that this browser can show");
      return false;
    }
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = this.image.src = address;
    this.file = file;
    this.fileName = file.name || `${this.picture.name}.${(file.type.split("/")[1] ?? "png").replace("jpeg", "jpg")}`;
    this.#fit(image.naturalWidth, image.naturalHeight);
    this.drop.hidden = true;
    this.workbench.hidden = false;
    this.input.value = "";
    this.dispatchEvent(new Event("change"));
    return true;
  }

  /** Takes a file (or blob) for the mask: white is painted. */
  async openMask(file) {
    try {
      const bitmap = await createImageBitmap(file);
      this.painting.load(bitmap);
      bitmap.close();
    } catch {
      this.complain(this.mask.name, "is not a picture that this browser can read");
    }
  }

  /** What is to be sent: files by the parameters' names. */
  async files() {
    const files = {};
    if (!this.file) return files;
    files[this.picture.name] = new File([this.file], this.fileName, { type: this.file.type });
    if (this.mask) files[this.mask.name] = new File([await this.painting.toBlob()], `${this.mask.name}.png`, { type: "image/png" });
    return files;
  }

  /** Complaints that need no service: by parameter's name. */
  lacks() {
    if (!this.file) return this.picture.required ? { [this.picture.name]: "is required: drop, paste or choose a picture" } : {};
    if (this.mask?.required && this.painting.isEmpty) return { [this.mask.name]: "is empty: paint what is to be repainted" };
    return {};
  }

  /** Shows a complaint beside the picture or the mask, or takes it away. */
  complain(name, message) {
    const place = this.errors[name];
    place.textContent = message ? `${name.replaceAll("_", " ")} ${message}` : "";
    place.hidden = !message;
    const control = name === this.picture.name ? this.input : this.canvas;
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  }

  /** Where the keyboard goes when that parameter is complained about. */
  focus(name) {
    if (this.mask && name === this.mask.name && this.file) this.canvas.focus();
    else this.input.focus();
  }

  #fit(width, height) {
    this.frame.style.aspectRatio = `${width} / ${height}`;
    this.frame.style.setProperty("--ratio", width / height);
    this.frame.classList.toggle("coarse", Math.max(width, height) <= 320);
    if (!this.mask) return;
    this.painting.reset(width, height);
    const side = Math.min(this.canvas.width, this.canvas.height);
    this.slider.max = Math.max(20, Math.round(side / 2));
    this.#resize(Math.max(4, side / 8));
  }

  #resize(size) {
    this.slider.value = Math.round(size);
    this.brush.size = Number(this.slider.value);
    this.sizeText.textContent = `${this.slider.value} px`;
  }

  #tool(erase) {
    this.brush.erasing = erase;
    this.tools.forEach((button, at) => button.setAttribute("aria-pressed", String(Boolean(at) === erase)));
  }

  #maskChanged() {
    this.undo.disabled = !this.painting.canUndo;
    this.redo.disabled = !this.painting.canRedo;
    if (!this.painting.isEmpty) this.complain(this.mask.name, "");
    this.dispatchEvent(new Event("change"));
  }
}
