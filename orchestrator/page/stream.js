// Server-sent events over fetch: EventSource can send no key, and does not tell why it was refused.

/** Yields `{id, event, data}` of one response's body, as they come. */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const told = parse(block);
        if (told.data !== undefined) yield told;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const told = {};
  for (const line of block.split(/\r?\n/)) {
    const at = line.indexOf(":");
    if (at < 1) continue;
    const name = line.slice(0, at);
    const text = line.slice(at + 1).replace(/^ /, "");
    told[name] = name === "data" && told.data !== undefined ? `${told.data}\n${text}` : text;
  }
  return told;
}
