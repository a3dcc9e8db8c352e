// One parameter as a labelled control, with its help, its range and its complaint. Knows JSON Schema, not the widget.

import { iconButton, make } from "./element.js";

const FEW = 5; // words or numbers that are shown beside one another

/** A field for one property: `{element, name, advanced, value(), fill(text), complain(message), focus(), local()}`. */
export function makeField(name, property, required, known) {
  const made = new (kindOf(property))(name, property, required, known);
  made.build();
  return made;
}

function kindOf(property) {
  const options = optionsOf(property);
  if (options) return options.length <= FEW ? Radios : Choice;
  if (property["x-type"] === "seed") return Seed;
  if (property["x-type"] === "sampler") return Sampler;
  if (property["x-type"] === "checkpoint") return Model;
  if (property.type === "integer" || property.type === "number") return Numeric;
  return Text;
}

/** The few values that a parameter may have, as [value, shown], or null. */
function optionsOf(property) {
  if (property["x-type"] === "sampler") return null;
  if (property.oneOf) return property.oneOf.map((one) => [String(one.const), one.title]);
  if (property.type === "integer" && property.minimum === 0 && property.maximum === 1) return [["0", "no"], ["1", "yes"]];
  return property.enum?.map((word) => [word, word]) ?? null;
}

class Field {
  constructor(name, property, required, known) {
    Object.assign(this, { name, property, required, known });
    this.id = `field-${name}`;
    this.advanced = property["x-advanced"] === true;
    this.initial = property.default === undefined ? "" : String(property.default);
  }

  build() {
    this.help = make("p", { class: "help", id: `help-${this.name}` }, this.property.description ?? "");
    this.error = make("p", { class: "error", id: `error-${this.name}`, hidden: true });
    const controls = this.controls();
    this.describe();
    this.element = this.frame(controls);
    this.fill(this.initial);
  }

  describe() {
    this.control.setAttribute("aria-describedby", `${this.help.id} ${this.error.id}`);
    if (this.required) this.control.setAttribute("aria-required", "true");
  }

  frame(controls) {
    const label = make("label", { htmlFor: this.id }, this.name.replaceAll("_", " "));
    if (this.required) label.append(make("span", { class: "needed" }, " required"));
    return make("div", { class: "field" }, label, ...controls, this.help, this.error);
  }

  value() {
    return this.control.value;
  }

  fill(text) {
    this.control.value = text;
  }

  /** A complaint that needs no service, or "". */
  local() {
    return this.required && !this.value().trim() ? "is required" : "";
  }

  complain(message) {
    this.error.textContent = message ? `${this.name.replaceAll("_", " ")} ${message}` : "";
    this.error.hidden = !message;
    if (message) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }

  focus() {
    this.control.focus();
  }
}

class Text extends Field {
  controls() {
    const rows = this.property["x-type"] === "prompt" ? (this.required ? 3 : 2) : 1;
    this.control = make("textarea", { id: this.id, rows, spellcheck: false, placeholder: this.initial });
    if (this.property.maxLength) this.control.maxLength = this.property.maxLength;
    return [this.control];
  }
}

class Model extends Field {
  controls() {
    const list = make("datalist", { id: `${this.id}-list` });
    for (const { name, title } of this.known.models.checkpoints) list.append(make("option", { value: name, label: title || name }));
    this.control = make("input", { id: this.id, type: "text", autocomplete: "off", spellcheck: false });
    this.control.setAttribute("list", list.id);
    return [this.control, list];
  }
}

class Numeric extends Field {
  controls() {
    const { minimum, maximum, type } = this.property;
    const step = type === "integer" ? 1 : (maximum - minimum) <= 2 ? 0.01 : 0.5;
    this.control = make("input", { id: this.id, type: "number", min: minimum, max: maximum, step: type === "integer" ? 1 : "any" });
    this.control.inputMode = type === "integer" ? "numeric" : "decimal";
    if (minimum === undefined || maximum === undefined || maximum - minimum > 4096) return [this.control];
    this.slider = make("input", { type: "range", min: minimum, max: maximum, step, tabIndex: -1, ariaLabel: `${this.name}, slider` });
    this.slider.addEventListener("input", () => (this.control.value = this.slider.value));
    this.control.addEventListener("input", () => (this.slider.value = this.control.value));
    return [make("div", { class: "number" }, this.slider, this.control)];
  }

  fill(text) {
    super.fill(text);
    if (this.slider) this.slider.value = text;
  }

  /** What is no number at all reads as "", which would silently mean the default. */
  local() {
    const { badInput, rangeUnderflow, rangeOverflow } = this.control.validity;
    if (badInput) return "must be a number";
    if (rangeUnderflow || rangeOverflow) return `must be from ${this.property.minimum} to ${this.property.maximum}`;
    return super.local();
  }
}

class Seed extends Field {
  controls() {
    this.control = make("input", { id: this.id, type: "text", inputMode: "numeric", autocomplete: "off" });
    const random = iconButton("dice", "Draw a new seed each time (-1)", () => this.fill("-1"));
    return [make("div", { class: "with-button" }, this.control, random)];
  }
}

class Choice extends Field {
  controls() {
    this.control = make("select", { id: this.id });
    if (!this.initial) this.control.append(make("option", { value: "" }, "as drawn"));
    for (const [value, shown] of optionsOf(this.property)) this.control.append(make("option", { value }, shown));
    return [this.control];
  }
}

class Sampler extends Field {
  controls() {
    this.control = make("select", { id: this.id });
    const { samplers, refused } = this.known.samplers;
    const groups = new Map();
    for (const { name, sampler_name: method } of samplers) {
      if (!groups.has(method)) groups.set(method, make("optgroup", { label: name }));
      groups.get(method).append(make("option", { value: name }, name));
    }
    this.control.append(...groups.values());
    const missing = refused.map(({ name, nearest }) => make("option", { value: name, disabled: true }, `${name}: take ${nearest}`));
    if (missing.length) this.control.append(make("optgroup", { label: "Not here" }, ...missing));
    return [this.control];
  }
}

class Radios extends Field {
  controls() {
    this.inputs = optionsOf(this.property).map(([value]) => make("input", { type: "radio", name: this.id, value }));
    const labels = optionsOf(this.property).map(([, shown], at) => make("label", {}, this.inputs[at], make("span", {}, shown)));
    this.control = make("div", { class: "radios", role: "radiogroup" }, ...labels);
    return [this.control];
  }

  frame(controls) {
    const label = make("p", { class: "label", id: `${this.id}-label` }, this.name.replaceAll("_", " "));
    this.control.setAttribute("aria-labelledby", label.id);
    return make("div", { class: "field" }, label, ...controls, this.help, this.error);
  }

  value() {
    return this.inputs.find((input) => input.checked)?.value ?? "";
  }

  fill(text) {
    for (const input of this.inputs) input.checked = input.value === text;
  }

  focus() {
    (this.inputs.find((input) => input.checked) ?? this.inputs[0]).focus();
  }
}
