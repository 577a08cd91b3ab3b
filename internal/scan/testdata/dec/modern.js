// What Hermes does not read yet.
import "./literals.js";
class Client {
  #secret = "private-field-secret";
  constructor(base) { this.base = base; this.token = "constructor-token"; }
  get url() { return `https://${this.base}/v1?key=AIzaTemplatePart&q=${encodeURIComponent("nested " + pick(1))}#end`; }
  async call() { const r = await this.url; return {...r, secret: this.#secret}; }
}
export const CLIENT_SECRET = "exported-client-secret";
export const config = {
  "api-key": 'quoted-key-value', // "not a literal"
  [CLIENT_SECRET]: "computed",
  fallback: process.env.SELO_SECRET || "fallback-secret-value",
  chosen: __DEV__ ? "development-secret" : "production-secret",
};
config.headers = { Authorization: `Bearer ${config.fallback}-suffix` };
config["assigned"] = String.raw`raw\value`;
globalThis.print(new Client("x").url, config, String.fromCharCode(83, 101, 108, 111, 45, 115, 101, 99, 114, 101, 116));
