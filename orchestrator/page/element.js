// Makes DOM elements. Text always goes in as text, never as HTML.

/** An element with properties (or attributes), `onclick`-like listeners and children (elements or text). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && (element[name] === null || typeof element[name] !== "object")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** One of the icons drawn in index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon; without `shown`, its label is for screen readers and the tooltip. */
export function iconButton(name, label, onclick, { shown = false, ...more } = {}) {
  const properties = { type: "button", class: shown ? "quiet" : "quiet square", onclick, ...more };
  if (!shown) Object.assign(properties, { title: label, ariaLabel: label });
  return make("button", properties, icon(name), shown ? make("span", {}, label) : null);
}

/** The element of that id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Says something to screen readers, when they have nothing else to say. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Lets the browser save `blob` as a file. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
