// Lists the literals of a source, as a parser sees them: one JSON string a line. node literals.mjs acorn.js source.js
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const acorn = createRequire(import.meta.url)(process.argv[2]);
const out = [];
const options = { ecmaVersion: "latest", sourceType: process.argv[4] ?? "script", allowReturnOutsideFunction: true, allowHashBang: true };
const walk = (n) => {
  if (!n || typeof n.type !== "string") return;
  if (n.type === "Literal" && typeof n.value === "string") out.push(n.value);
  if (n.type === "TemplateElement") out.push(n.value.cooked ?? n.value.raw);
  for (const v of Object.values(n)) Array.isArray(v) ? v.forEach(walk) : v && typeof v === "object" && walk(v);
};
walk(acorn.parse(readFileSync(process.argv[3], "utf8"), options));
process.stdout.write(out.map((s) => JSON.stringify(s)).join("\n"));
