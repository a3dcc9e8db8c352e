// What came out: before and after under a slider, and what can be done with it.

import { duration } from "./progress.js";
import { icon, iconButton, make, save } from "./element.js";

/** An element for a run that has ended. `run` is as the history keeps it; `actions` are called by name. */
export function showResult(run, actions) {
  if (run.state !== "succeeded") return make("div", { class: "result" }, over(run), buttons(run, actions));
  if (!run.result) return make("div", { class: "result" }, gone(), buttons(run, actions));
  return make("div", { class: "result" }, pictures(run), facts(run), buttons(run, actions));
}

function over({ state, detail }) {
  const texts = { cancelled: "Cancelled.", failed: detail || "The job failed." };
  const text = texts[state] ?? "Not ended yet; it is shown when the other run is over.";
  return make("p", { class: state === "failed" ? "alert" : "note" }, text);
}

function gone() {
  return make("p", { class: "note" }, "The picture was not fetched before its link expired. Run it again with the same seed to get it back.");
}

function pictures(run) {
  const after = picture(run.result, `Result: ${run.values.prompt ?? run.title}`);
  const before = run.before && picture(run.before, "Before");
  return before ? comparison(before, after) : make("div", { class: "frame fitted" }, sized(after));
}

function picture(blob, alt) {
  const image = make("img", { alt, draggable: false });
  image.src = URL.createObjectURL(blob);
  return image;
}

/** The frame takes the picture's shape once that is known. */
function sized(image) {
  image.addEventListener("load", () => {
    const { naturalWidth: width, naturalHeight: height, parentElement: frame } = image;
    frame.style.aspectRatio = `${width} / ${height}`;
    frame.style.setProperty("--ratio", width / height);
    frame.classList.toggle("coarse", Math.max(width, height) <= 320);
  });
  return image;
}

/** Two pictures of one size with a slider over them; the range input makes it work for keyboards and fingers alike. */
function comparison(before, after) {
  before.className = "before";
  const line = make("span", { class: "divider" });
  const range = make("input", {
    type: "range",
    min: 0,
    max: 100,
    value: 50,
    step: 0.5,
    class: "compare",
    ariaLabel: "How much of the picture is shown as it was before",
  });
  const show = () => {
    before.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
    line.style.left = `${range.value}%`;
    range.setAttribute("aria-valuetext", `${Math.round(range.value)} % before`);
  };
  range.addEventListener("input", show);
  show();
  const tags = [make("span", { class: "tag left" }, "Before"), make("span", { class: "tag right" }, "After")];
  return make("div", { class: "frame fitted compared" }, sized(after), before, line, ...tags, range);
}

function facts(run) {
  const parts = [];
  if (run.seed != null) parts.push(`Seed ${run.seed}`);
  const seconds = Object.values(run.timings ?? {}).reduce((sum, each) => sum + each, 0);
  if (seconds) parts.push(`took ${spent(seconds)}`);
  return make("p", { class: "facts" }, parts.join(" · "));
}

function spent(seconds) {
  if (seconds < 0.1) return "under 0.1 s";
  return seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

function buttons(run, actions) {
  const shown = { shown: true };
  const all = [];
  if (run.result) {
    const name = `${run.widget}-${run.seed ?? run.id.slice(0, 8)}.${run.result.type === "image/png" ? "png" : "jpg"}`;
    all.push(iconButton("download", "Download", () => save(run.result, name), shown));
    if (run.before) all.push(iconButton("brush", "Repaint result", () => actions.repaint(run), shown));
  }
  all.push(iconButton("again", "Use settings", () => actions.reuse(run), shown));
  if (run.seed != null) all.push(iconButton("dice", "Keep its seed", () => actions.keepSeed(run), shown));
  all.push(iconButton("copy", "Copy as curl", () => actions.curl(run), shown));
  const links = run.links ?? {};
  if (isWeb(links.editor)) all.push(linkTo(links.editor, "open", "Open in ComfyUI", { target: "_blank", rel: "noopener" }));
  if (links.workflow) all.push(iconButton("graph", "Workflow", () => actions.workflow(run), shown));
  return make("div", { class: "actions" }, ...all);
}

function linkTo(href, name, label, more) {
  return make("a", { class: "button quiet", href, ...more }, icon(name), make("span", {}, label));
}

/** Links come from the service; one that is no web address is not one to click. */
function isWeb(address) {
  try {
    return ["http:", "https:"].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}
