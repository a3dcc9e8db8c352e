// What interrupts: the API key, a text to be copied by hand, a question before something is lost.

import { announce, byId, make } from "./element.js";

/** Asks for the key; the answer is true when one was given (or forgotten: "") and kept in `service`. */
export function askForKey(service, complaint) {
  const input = make("input", { id: "api-key", type: "password", autocomplete: "off", spellcheck: false, value: service.key });
  const why = make("p", { class: "error", id: "api-key-error", hidden: !complaint }, complaint ?? "");
  input.setAttribute("aria-describedby", "api-key-error api-key-help");
  return asked(
    "API key",
    [
      make("label", { htmlFor: input.id }, "Key"),
      input,
      why,
      make("p", { class: "help", id: "api-key-help" }, "Kept in this browser only, and sent to this service alone. Leave it empty to forget it."),
    ],
    "Save",
  ).then((yes) => {
    if (yes) service.key = input.value;
    byId("key-button").hidden = false;
    return yes;
  });
}

/** Asks before something is lost. */
export function confirmed(question, deed) {
  return asked(question, [], deed);
}

/** Puts a text on the clipboard; shows it to be copied by hand where the browser does not allow that. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    const area = make("textarea", { rows: 10, readOnly: true, value: text, ariaLabel: what, class: "code", spellcheck: false });
    area.addEventListener("focus", () => area.select());
    await asked(what, [area], "Done", false);
  }
}

/** A short word at the bottom of the window. */
export function toast(text) {
  const note = make("p", { class: "toast" }, text);
  document.body.append(note);
  announce(text);
  setTimeout(() => note.remove(), 2500);
}

function asked(title, contents, deed, cancellable = true) {
  const cancel = make("button", { type: "button", class: "quiet", onclick: () => dialog.close("") }, "Cancel");
  const form = make(
    "form",
    { method: "dialog" },
    make("h2", { id: "dialog-title" }, title),
    ...contents,
    make("div", { class: "dialog-buttons" }, ...(cancellable ? [cancel] : []), make("button", { class: "primary", value: "yes" }, deed)),
  );
  const dialog = make("dialog", {}, form);
  dialog.setAttribute("aria-labelledby", "dialog-title");
  // Not sent: the policy lets no form go anywhere, and a dialog's form need not.
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close("yes");
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(dialog.returnValue === "yes");
    }),
  );
}
