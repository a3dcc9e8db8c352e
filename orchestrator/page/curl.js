// A run as a curl command that a POSIX shell takes as it is. Pure.

/** One word of a shell, whatever is in it. */
export function shellWord(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A file's name inside curl's own quotes, so that commas and semicolons are part of it. */
function curlFile(name) {
  return `@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/**
 * The command. `values` are texts by name, `files` file names by name; `--form-string` sends a text as it is, even if it
 * begins with @ or <. The key stays out: the shell's variable stands for it.
 */
export function curlCommand({ url, values, files, type, keyed }) {
  const lines = [`curl -sS ${shellWord(url)}`, `-H ${shellWord(`Accept: ${type}`)}`];
  if (keyed) lines.push('-H "Authorization: Bearer $ORCHESTRATOR_API_KEY"');
  for (const [name, file] of Object.entries(files)) lines.push(`-F ${shellWord(`${name}=${curlFile(file)}`)}`);
  for (const [name, text] of Object.entries(values)) lines.push(`--form-string ${shellWord(`${name}=${text}`)}`);
  return lines.join(" \\\n  ");
}
