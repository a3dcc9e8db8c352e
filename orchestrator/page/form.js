// A widget's parameters as a form: pictures on the stage, the main parameters, the others folded.

import { make } from "./element.js";
import { makeField } from "./field.js";
import { Surface } from "./surface.js";

export class Form {
  /** `schema` as the service gives it; `known` is {samplers, models}. */
  constructor(schema, known) {
    this.schema = schema;
    const needed = new Set(schema.required);
    const all = Object.entries(schema.properties).map(([name, property]) => ({ name, property, required: needed.has(name) }));
    const kind = ({ property }) => property["x-type"];
    const masks = all.filter((one) => kind(one) === "mask");
    this.surfaces = all
      .filter((one) => kind(one) === "picture")
      .map((picture) => new Surface(picture, masks.find(({ property }) => property["x-of"] === picture.name) ?? null));
    this.fields = all
      .filter((one) => !["picture", "mask"].includes(kind(one)))
      .map(({ name, property, required }) => makeField(name, property, required, known));
    this.fields.sort((one, other) => rank(one) - rank(other));
  }

  /** What goes into the panel. */
  elements() {
    const main = this.fields.filter((field) => !field.advanced).map((field) => field.element);
    const folded = this.fields.filter((field) => field.advanced).map((field) => field.element);
    this.folded = make("details", { class: "advanced" }, make("summary", {}, "More settings"), ...folded);
    return folded.length ? [...main, this.folded] : main;
  }

  /** Texts by name, as they are to be sent; what has no value is left out. */
  values() {
    const values = {};
    for (const field of this.fields) if (field.value() !== "") values[field.name] = field.value();
    return values;
  }

  /** Those of `values` that the service would not assume by itself. */
  telling(values) {
    const initial = Object.fromEntries(this.fields.map((field) => [field.name, field.initial]));
    return Object.fromEntries(Object.entries(values).filter(([name, text]) => initial[name] !== text));
  }

  /** Files by name. */
  async files() {
    const all = await Promise.all(this.surfaces.map((surface) => surface.files()));
    return Object.assign({}, ...all);
  }

  /** Puts earlier values and files back in. */
  async fill(values, files) {
    for (const field of this.fields) field.fill(values[field.name] ?? field.initial);
    for (const surface of this.surfaces) {
      const picture = files[surface.picture.name];
      if (!picture || !(await surface.open(picture))) continue;
      if (surface.mask && files[surface.mask.name]) await surface.openMask(files[surface.mask.name]);
    }
    this.complain([]);
  }

  /** Complaints that need no service, as it would write them. */
  lacks() {
    const found = Object.assign({}, ...this.surfaces.map((surface) => surface.lacks()));
    for (const field of this.fields) if (field.local()) found[field.name] = field.local();
    return Object.entries(found).map(([field, message]) => ({ field, message }));
  }

  /** Shows each complaint beside its field, goes to the first; answers those that belong to none. */
  complain(complaints) {
    const messages = new Map();
    for (const { field, message } of complaints) {
      messages.set(field, messages.has(field) ? `${messages.get(field)}; ${message}` : message);
    }
    const take = (name) => {
      const message = messages.get(name) ?? "";
      messages.delete(name);
      return message;
    };
    let first = null;
    for (const surface of this.surfaces) {
      for (const name of Object.keys(surface.errors)) {
        const message = take(name);
        surface.complain(name, message);
        if (message) first ??= () => surface.focus(name);
      }
    }
    for (const field of this.fields) {
      const message = take(field.name);
      field.complain(message);
      if (!message) continue;
      if (field.advanced) this.folded.open = true;
      first ??= () => field.focus();
    }
    first?.();
    return [...messages].map(([name, message]) => `${name} ${message}`);
  }

  /** Whether one of the pictures is complained about. */
  get stageIsWrong() {
    return this.surfaces.some((surface) => Object.values(surface.errors).some((error) => !error.hidden));
  }
}

/** Words come before numbers, and the model after the words; else as the artist wrote them. */
function rank({ property }) {
  return ["prompt", "text", "checkpoint"].indexOf(property["x-type"]) + 1 || 4;
}
