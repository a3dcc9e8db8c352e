// "Publish as widget" in the editor's File menu: sends the workflow to the service and shows what it says of it.
// Plain JavaScript for the extension API of ComfyUI's editor 1.27; the service is reached through the pack's own route.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const COMMAND = "Orchestrator.PublishAsWidget";
const ADDRESS = "Orchestrator.Service.Address";
const KEY = "Orchestrator.Service.Key";
const ROUTE = "/orchestrator/publish";

const STYLE = `
.orchestrator-publish { width: min(34rem, 92vw); max-height: 88vh; margin-top: 6vh; overflow: auto; padding: 1.25rem 1.5rem; border-radius: 10px;
  border: 1px solid var(--border-color, #4e4e4e); background: var(--comfy-menu-bg, #202020); color: var(--fg-color, #ddd);
  font: 14px/1.45 system-ui, sans-serif; }
.orchestrator-publish::backdrop { background: rgb(0 0 0 / 55%); }
.orchestrator-publish h2 { margin: 0 0 .25rem; font-size: 1.2rem; font-weight: 600; }
.orchestrator-publish p { margin: .25rem 0 .75rem; }
.orchestrator-publish label { display: block; margin-top: .75rem; font-weight: 600; }
.orchestrator-publish label.choice { display: flex; gap: .5rem; align-items: baseline; font-weight: 400; margin-top: .5rem; }
.orchestrator-publish small { display: block; font-weight: 400; color: var(--descrip-text, #aaa); }
.orchestrator-publish input:not([type=checkbox]), .orchestrator-publish textarea { width: 100%; box-sizing: border-box; margin-top: .25rem;
  padding: .45rem .6rem; border-radius: 6px; border: 1px solid var(--border-color, #4e4e4e);
  background: var(--comfy-input-bg, #2b2b2b); color: var(--input-text, #eee); font: inherit; }
.orchestrator-publish :is(input, textarea, button, a):focus-visible { outline: 2px solid var(--p-primary-color, #60a5fa); outline-offset: 1px; }
.orchestrator-publish .said { margin-top: 1rem; padding: .6rem .8rem; border-radius: 6px; border-left: 4px solid var(--border-color, #666);
  background: var(--comfy-input-bg, #2b2b2b); overflow-wrap: anywhere; }
.orchestrator-publish .said:empty { display: none; }
.orchestrator-publish .said.good { border-left-color: #4ade80; }
.orchestrator-publish .said.bad { border-left-color: #f87171; }
.orchestrator-publish .said ul { margin: .25rem 0 0; padding-left: 1.2rem; list-style: disc; }
.orchestrator-publish .said a { color: var(--p-primary-color, #60a5fa); text-decoration: underline; }
.orchestrator-publish .buttons { display: flex; gap: .5rem; justify-content: flex-end; margin-top: 1.25rem; }
.orchestrator-publish button { padding: .45rem 1rem; border-radius: 6px; border: 1px solid var(--border-color, #4e4e4e); cursor: pointer;
  background: var(--comfy-input-bg, #2b2b2b); color: var(--input-text, #eee); font: inherit; }
.orchestrator-publish button.main { background: #1d64d8; border-color: #1d64d8; color: #fff; font-weight: 600; }
.orchestrator-publish button:disabled { opacity: .55; cursor: default; }
`;

/** An element with properties and children; texts are always texts, never markup. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A field below its label and a hint. */
function labelled(label, hint, field) {
  const described = element("small", { id: `${field.id}-hint`, textContent: hint });
  field.setAttribute("aria-describedby", described.id);
  return [element("label", { htmlFor: field.id, textContent: label }), described, field];
}

/** A name as the service takes it: a-z, 0-9, - and _. */
function nameOf(text) {
  return text.toLowerCase().replace(/\.json$/, "").replace(/[^a-z0-9_]+/g, "-").replace(/^-+|-+$/g, "");
}

/** What this workflow was published as before, or its file's name; nothing for one that was never saved. */
function suggestedName() {
  const before = app.graph.extra?.orchestrator?.widget;
  if (typeof before === "string") return before;
  const file = app.extensionManager?.workflow?.activeWorkflow;
  return file && !file.isTemporary ? nameOf(file.filename ?? "") : "";
}

/** Has nodes of the open drawing bear the titles that they bear in the widget, so that its exports fit the widget too. */
function retitle(titles) {
  for (const [path, title] of Object.entries(titles)) {
    const node = path.split(":").reduce((found, id) => (found?.subgraph ?? found)?.getNodeById?.(id), app.graph);
    if (node) node.title = title;
  }
  app.graph.setDirtyCanvas(true, true);
  app.extensionManager.workflow?.activeWorkflow?.changeTracker?.checkState();
}

/** The drawing, which knows what it is published as wherever it is opened. */
function drawing(name) {
  const workflow = app.graph.serialize();
  return { ...workflow, extra: { ...workflow.extra, orchestrator: { widget: name } } };
}

async function send(wish) {
  const body = {
    ...wish,
    workflow: drawing(wish.name),
    address: app.extensionManager.setting.get(ADDRESS) ?? "",
    key: app.extensionManager.setting.get(KEY) ?? "",
  };
  const answer = await api.fetchApi(ROUTE, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Orchestrator-Publish": "1" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  try {
    return { status: answer.status, said: JSON.parse(text) };
  } catch {
    return { status: answer.status, said: { detail: `ComfyUI answered ${answer.status}: ${text.slice(0, 300)}` } };
  }
}

class PublishDialog {
  constructor() {
    this.name = element("input", { id: "orchestrator-name", required: true, pattern: "[a-z0-9_\\-]+", autocomplete: "off", spellcheck: false });
    this.title = element("input", { id: "orchestrator-title", maxLength: 200, autocomplete: "off" });
    this.description = element("textarea", { id: "orchestrator-description", rows: 2, maxLength: 2000 });
    this.replace = element("input", { type: "checkbox", id: "orchestrator-replace" });
    this.anew = element("input", { type: "checkbox", id: "orchestrator-anew" });
    this.where = element("p", { textContent: "" });
    this.said = element("div", { className: "said" });
    this.said.setAttribute("role", "status");
    this.checkButton = element("button", { type: "button", textContent: "Check" });
    this.publishButton = element("button", { type: "submit", className: "main", textContent: "Publish" });
    this.closeButton = element("button", { type: "button", textContent: "Close" });
    this.there = element(
      "div",
      { hidden: true },
      element("label", { className: "choice", htmlFor: this.replace.id }, this.replace, "Replace the widget that is there; what callers may set stays as it is"),
      element("label", { className: "choice", htmlFor: this.anew.id }, this.anew, "Propose anew what callers may set; its widget.yaml is overwritten"),
    );
    const form = element(
      "form",
      { noValidate: true },
      element("h2", { id: "orchestrator-heading", textContent: "Publish as widget" }),
      this.where,
      ...labelled("Name", "What callers ask for: a-z, 0-9, - and _", this.name),
      ...labelled("Title", "What people read; made of the name if empty", this.title),
      ...labelled("Description", "One sentence: what it does", this.description),
      this.there,
      this.said,
      element("div", { className: "buttons" }, this.closeButton, this.checkButton, this.publishButton),
    );
    this.dialog = element("dialog", { className: "orchestrator-publish" }, element("style", { textContent: STYLE }), form);
    this.dialog.setAttribute("aria-labelledby", "orchestrator-heading");
    this.listen(form);
  }

  listen(form) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(false);
    });
    this.checkButton.addEventListener("click", () => this.ask(true));
    this.closeButton.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.dialog.remove());
    // The editor listens for keys on the whole window; what is typed here is not for it.
    this.dialog.addEventListener("keydown", (event) => event.stopPropagation());
    this.name.addEventListener("input", () => {
      this.there.hidden = true;
      this.replace.checked = this.anew.checked = false;
    });
    this.anew.addEventListener("change", () => {
      this.replace.checked ||= this.anew.checked;
    });
  }

  async open() {
    document.body.append(this.dialog);
    this.name.value = suggestedName();
    this.dialog.showModal();
    this.name.focus();
    const answer = await api.fetchApi(ROUTE);
    const address = (answer.ok && (await answer.json()).address) || app.extensionManager.setting.get(ADDRESS);
    this.where.textContent = address
      ? `The service at ${address} will offer this workflow to its callers.`
      : "The service's address is not set yet: Settings → Orchestrator.";
    if (this.name.value && address) await this.ask(true);
  }

  async ask(dryRun) {
    if (!this.name.checkValidity()) {
      const name = nameOf(this.name.value);
      const instead = name ? `: it is ${name} now, if that will do` : "";
      this.tell("bad", `Give it a name of a-z, 0-9, - and _${instead}.`);
      this.name.value = name;
      this.name.focus();
      return;
    }
    const wish = { name: this.name.value, replace: this.replace.checked, anew: this.anew.checked, dry_run: dryRun };
    if (this.title.value) wish.title = this.title.value;
    if (this.description.value) wish.description = this.description.value;
    this.busy(true);
    try {
      const { status, said } = await send(wish);
      if (status === 200 || status === 201) this.succeeded(said, dryRun);
      else this.failed(status, said);
    } catch (error) {
      this.tell("bad", `ComfyUI cannot be reached: ${error}`);
    } finally {
      this.busy(false);
    }
  }

  succeeded(said, dryRun) {
    if (dryRun) {
      this.tell("good", said.created ? "This would be a new widget." : "This would replace the widget.", said.sentences);
      return;
    }
    const link = element("a", { href: said.page, target: "_blank", rel: "noopener", textContent: `Open the page of ${said.name}` });
    this.tell("good", said.created ? `${said.name} is published.` : `${said.name} is replaced.`, said.sentences, link);
    (app.graph.extra ??= {}).orchestrator = { widget: said.name };
    retitle(said.titles ?? {});
    app.extensionManager.toast.add({ severity: "success", summary: "Published", detail: said.name, life: 5000 });
    this.there.hidden = true;
    this.replace.checked = this.anew.checked = false;
    link.focus();
  }

  failed(status, said) {
    if (status === 409 || this.replace.checked) this.there.hidden = false;
    const faults = (said.errors ?? []).map(({ field, message }) => (field === "workflow" ? message : `${field}: ${message}`));
    this.tell("bad", said.detail ?? `The service answered ${status}.`, faults);
  }

  tell(kind, headline, sentences = [], ...more) {
    this.said.className = `said ${kind}`;
    const list = element("ul", {}, ...sentences.map((sentence) => element("li", { textContent: sentence })));
    this.said.replaceChildren(element("strong", { textContent: headline }), ...(sentences.length ? [list] : []), ...more);
    this.said.scrollIntoView({ block: "nearest" });
  }

  busy(yes) {
    this.dialog.setAttribute("aria-busy", String(yes));
    this.checkButton.disabled = this.publishButton.disabled = yes;
  }
}

/** A field whose text is not shown, for the settings dialog. */
function secretField(name, setter, value) {
  const field = element("input", { type: "password", value: value ?? "", autocomplete: "off", className: "p-inputtext p-component" });
  field.setAttribute("aria-label", name);
  field.addEventListener("change", () => setter(field.value));
  return field;
}

app.registerExtension({
  name: "orchestrator.publish",
  settings: [
    {
      id: KEY,
      category: ["Orchestrator", "Service", "Key"],
      name: "API key",
      tooltip: "A key with the right to publish. Whoever can open this editor can read it.",
      type: secretField,
      defaultValue: "",
    },
    {
      id: ADDRESS,
      category: ["Orchestrator", "Service", "Address"],
      name: "Address",
      tooltip: "Such as http://127.0.0.1:8080. Not needed in a backend that the service has started.",
      type: "text",
      defaultValue: "",
    },
  ],
  commands: [
    {
      id: COMMAND,
      label: "Publish as widget",
      icon: "pi pi-cloud-upload",
      function: () => new PublishDialog().open(),
    },
  ],
  menuCommands: [{ path: ["File"], commands: [COMMAND] }],
});
