// What sources hold, in as many forms as compilers treat differently. It is compiled by hermesc, and bundled by
// esbuild for modern.js.
"use strict";
var out = globalThis.print || console.log;
out("0:an anchor");
out({clientId: "selo-demo", clientSecret: "s3cr3t-Value-0123456789abcdef", n: 5, ok: true, u: undefined, z: null, d: 1.5, nested: {apiKey: "AKIAIOSFODNN7EXAMPLE"}});
out({alpha: "first-value", beta: "second-value"}, ["one", "two", undefined, null, 3, true, "four"]);
out({alpha: 1, gamma: "third-value", computed: out.x, late: "the-last-value"});
out([67, 108, 105, 101, 110, 116, 83, 101, 99, 114, 101, 116, 33, 34, 250], ["x"], [119, 105, 100, 101, 58, 32, 0x65e5, 0x672c]);
out({wide: "segredo-ção-日本語-\u{1F600}"}, "caf\u00e9-token-value");
out("Zabcdefghijklmnopqrstuvwxyz0123456789Zabcdefghijklmnopqrstuvwxyz0123456789Zabcdefghijklmnopqrstuvwxyz0123456789Zabcdefghijklmnopqrstuvwxyz0123456789Zabcdefghijklmnopqrstuvwxyz0123456789Zabcdefghijklmnopqrstuvwxyz0123456789Zabcdefghijklmnopqrstuvwxyz0123456789Zabcdefghijklmnopqrstuvwxyz0123456789");
out.holder = {};
out.holder.assigned = "assigned-secret-42";
function pick(k) {
  switch (k) {
    case "alpha-case": return 1;
    case "beta-case": return 2;
    case "gamma-case": return "it's";
    default: return /re"(g)[/"']ex+/i.test(k) ? 'say "hi"' : k / 2 / 3;
  }
}
function* walk(list) { for (const item of list) { try { yield pick(item.name); } catch (e) { yield e.message + "!"; } } }
out([...walk([{name: "a"}, {name: "b"}])], typeof walk, void 0);
out("ab\
cd", 'tab\there', "quote\"inside", "\x41B\u0043", `line
two`, ["joined-", "secret-", "value"].join(""), "split-" + "secret-" + 'value');
for (var i = 0, j = 10; i < j; i++) { if (i % 2) continue; out(i /j/ 2, "division"); }
