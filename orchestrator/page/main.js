// Joins the page's parts: which widget, its form, one run from Run to its result, the history.

import { curlCommand } from "./curl.js";
import { askForKey, confirmed, copy } from "./dialogs.js";
import { announce, byId, make, save } from "./element.js";
import { Form } from "./form.js";
import { History } from "./history.js";
import { Run } from "./run.js";
import { hasEnded, Problem, Service, Unreachable } from "./service.js";
import { showResult } from "./result.js";
import { Store } from "./store.js";

const TYPE = "image/png"; // exact outside the mask, and it carries the workflow

const service = new Service();
const store = new Store();
const history = new History(store, { show, clear: clearHistory });
const asked = new URLSearchParams(location.search);
let known = { samplers: { samplers: [], refused: [] }, models: { checkpoints: [], loras: [] } };
let widgets = [];
let widget = null;
let form = null;
let current = null; // the run on its way
let isRunning = false; // also while a run is made ready
let choice = 0; // counts, so that a slow answer does not take the place of a later one
let shown = null; // the id of the run on the stage

await start();

async function start() {
  listen();
  byId("key-button").hidden = !service.key;
  await store.open();
  history.draw();
  await trying(async () => {
    const [listed, samplers, models] = await Promise.all([service.widgets(), service.samplers(), service.models()]);
    widgets = listed;
    known = { samplers, models };
    byId("widget").replaceChildren(...widgets.map(({ name, title }) => make("option", { value: name }, title)));
    byId("widget").disabled = false;
    await choose(asked.get("widget") ?? widgets[0]?.name);
    const unfinished = store.all().find((run) => !hasEnded(run));
    if (!unfinished) return;
    if (unfinished.widget === widget.name) await form.fill(unfinished.values, unfinished.files);
    await follow(unfinished);
  });
}

function listen() {
  byId("widget").addEventListener("change", (event) => trying(() => choose(event.target.value, true)));
  byId("panel").addEventListener("submit", (event) => {
    event.preventDefault();
    trying(run);
  });
  byId("panel").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("panel").requestSubmit();
  });
  byId("curl").addEventListener("click", () => trying(copyForm));
  byId("key-button").addEventListener("click", () => trying(() => askForKey(service)));
  const tabs = ["input", "result"];
  for (const name of tabs) byId(`tab-${name}`).addEventListener("click", () => turnTo(name));
  byId("tab-input").parentElement.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = byId("input").hidden ? "input" : "result";
    turnTo(other);
    byId(`tab-${other}`).focus();
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file && form?.surfaces.length) form.surfaces[0].open(file);
  });
  // A picture that is dropped beside its place must not replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  window.addEventListener("popstate", () => {
    const name = new URLSearchParams(location.search).get("widget");
    if (name && name !== widget?.name) trying(() => choose(name));
  });
}

/** Does something that asks the service; asks for a key when it wants one, and shows what went wrong. */
async function trying(deed) {
  for (let complaint = null; ; ) {
    try {
      complain("");
      return await deed();
    } catch (fault) {
      if (fault instanceof Problem && fault.status === 401) {
        complaint = service.key ? fault.message : null;
        if (await askForKey(service, complaint)) continue;
      }
      if (fault instanceof Problem) return complain(worded(fault));
      if (fault instanceof Unreachable) return complain(fault.message);
      complain("This page has made a mistake; the browser's console tells which. Load it anew to go on.");
      throw fault;
    }
  }
}

function worded(problem) {
  const again = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
  return `${problem.message}${again}`;
}

function complain(text) {
  byId("alert").textContent = text;
  byId("alert").hidden = !text;
}

/** Shows a widget's form; false if another was chosen meanwhile. */
async function choose(name, byHand = false) {
  const mine = ++choice;
  const entry = widgets.find((one) => one.name === name) ?? widgets[0];
  const schema = await service.schema(entry.name);
  if (mine !== choice) return false;
  const kept = form?.surfaces[0]?.file;
  widget = entry;
  form = new Form(schema, known);
  byId("widget").value = entry.name;
  byId("title").textContent = entry.title;
  byId("description").textContent = entry.description;
  document.title = `${entry.title} · ComfyUI orchestrator`;
  byId("fields").replaceChildren(...form.elements());
  byId("input").replaceChildren(...form.surfaces.map((surface) => surface.element));
  byId("tab-input").parentElement.hidden = form.surfaces.length === 0;
  byId("run").disabled = isRunning;
  byId("curl").disabled = false;
  if (kept && form.surfaces[0]) await form.surfaces[0].open(kept);
  if (!shown && !current) byId("result").replaceChildren(make("p", { class: "note" }, "Your picture appears here."));
  turnTo(form.surfaces.length && !current ? "input" : "result");
  const address = `?widget=${encodeURIComponent(entry.name)}`;
  if (byHand) window.history.pushState(null, "", address);
  else window.history.replaceState(null, "", address);
  if (name !== entry.name) complain(`There is no widget “${name}”; this is ${entry.title}.`);
  return true;
}

function turnTo(name) {
  for (const each of ["input", "result"]) {
    byId(each).hidden = each !== name;
    byId(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    byId(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
}

async function run() {
  if (isRunning || !form) return;
  const lacks = form.lacks();
  if (lacks.length) return refuse("Not sent: some settings cannot be used.", lacks);
  setRunning(true); // before anything is waited for: a second click is no second run
  const { name, title } = widget;
  const values = form.values();
  const picture = form.surfaces[0]?.picture.name;
  form.complain([]);
  try {
    const files = await form.files();
    const mine = (current = new Run(service, { widget: name, title, values, files, before: files[picture] ?? null }));
    stage(mine);
    await mine.submit(TYPE);
    await store.put(mine.record);
    await finish(mine);
  } catch (fault) {
    unstage();
    if (!(fault instanceof Problem) || !fault.fields.length) throw fault;
    refuse(worded(fault), fault.fields);
  }
}

/** Goes on with a run that an earlier life of the page began. */
async function follow(record) {
  const mine = (current = new Run(service, record));
  setRunning(true);
  stage(mine);
  try {
    await finish(mine);
  } catch (fault) {
    unstage();
    if (!(fault instanceof Problem) || fault.status !== 404) throw fault;
    await store.put({ ...record, state: "failed", detail: "The service no longer knows this job." });
    history.draw();
  }
}

async function finish(run) {
  history.draw(run.record.id);
  await run.toItsEnd();
  await store.put(run.record);
  current = null;
  show(run.record);
  setRunning(false);
  announce(run.record.state === "succeeded" ? "Done: the result is shown" : `The job ${run.record.state}`);
  if (run.record.state === "failed") refuse(run.record.detail, run.record.errors ?? []);
}

/** Shows complaints, each beside its field; those of no field below the form. */
function refuse(text, complaints) {
  const others = form.complain(complaints);
  if (form.stageIsWrong) turnTo("input");
  const isTold = complaints.length > others.length;
  complain([isTold ? "Not run: see what stands beside the settings." : text, ...others].join(" "));
}

function stage(run) {
  byId("result").replaceChildren(run.progress.element);
  shown = run.record.id;
  turnTo("result");
  if (byId("stage").getBoundingClientRect().top < 0) byId("stage").scrollIntoView();
}

function unstage() {
  current = null;
  shown = null;
  setRunning(false);
  byId("result").replaceChildren(make("p", { class: "note" }, "Your picture appears here."));
  if (form.surfaces.length) turnTo("input");
}

function setRunning(is) {
  isRunning = is;
  byId("run").textContent = isRunning ? "Running…" : "Run";
  byId("run").disabled = isRunning;
}

function show(record) {
  if (current && record.id === current.record.id) {
    byId("result").replaceChildren(current.progress.element);
  } else if (!hasEnded(record) && !isRunning) {
    return trying(() => follow(record));
  } else {
    const actions = { repaint, reuse, keepSeed, curl: copyRun, workflow: saveWorkflow };
    const wrapped = Object.fromEntries(Object.entries(actions).map(([name, act]) => [name, (one) => trying(() => act(one))]));
    byId("result").replaceChildren(showResult(record, wrapped));
  }
  shown = record.id;
  turnTo("result");
  history.draw(shown);
}

async function repaint(record) {
  if (widget.name !== record.widget && !(await choose(record.widget, true))) return;
  const type = record.result.type;
  await form.surfaces[0].open(new File([record.result], `${record.widget}-result.${type === "image/png" ? "png" : "jpg"}`, { type }));
  turnTo("input");
}

async function reuse(record) {
  if (widget.name !== record.widget && !(await choose(record.widget, true))) return;
  await form.fill(record.values, record.files);
  if (form.surfaces.length) turnTo("input");
}

function keepSeed(record) {
  const field = form.fields.find((one) => one.property["x-type"] === "seed");
  field?.fill(String(record.seed));
  field?.focus();
}

async function copyForm() {
  const files = await form.files();
  return copyCommand(widget.name, form.telling(form.values()), files, TYPE);
}

function copyRun(record) {
  const isDrawn = record.seed != null && ["-1", undefined].includes(record.values.seed);
  const seeded = isDrawn ? { seed: String(record.seed) } : {};
  return copyCommand(record.widget, { ...record.values, ...seeded }, record.files, TYPE);
}

function copyCommand(name, values, files, type) {
  const names = Object.fromEntries(Object.entries(files).map(([field, file]) => [field, file.name]));
  const url = new URL(`widgets/${encodeURIComponent(name)}`, document.baseURI).href;
  return copy(curlCommand({ url, values, files: names, type, keyed: Boolean(service.key) }), "curl command");
}

async function saveWorkflow(record) {
  save(await service.file(`jobs/${record.id}/workflow`), `${record.widget}-${record.id}.json`);
}

async function clearHistory() {
  if (!(await confirmed("Forget all runs and pictures in this browser?", "Forget them"))) return;
  await store.clear();
  if (current) await store.put(current.record);
  history.draw();
}
