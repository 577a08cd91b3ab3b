import { Refused } from './refused.js';

// snippet: strict-json
// Of {"isMatch":false,"isMatch":true} JSON.parse takes the last, and other parsers the first: two programs then read
// two answers in one signed response. So a name may be there once in each object. JSON.parse has checked the grammar
// before, which leaves little to do: in valid JSON a string with a colon behind it is a name and nothing else.
export function readObject(bytes) {
  let value, text;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes); // invalid UTF-8 throws
    value = JSON.parse(text);
  } catch {
    throw new Refused(403, 'payload_invalid'); // without the parser's message, which quotes what it read
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Refused(403, 'payload_invalid');
  const open = []; // the names seen in each object or array that we are in
  for (const [token, string, colon] of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/g)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (colon) {
      const name = JSON.parse(string); // "is\u004datch" is isMatch too
      if (open.at(-1).has(name)) throw new Refused(403, 'payload_invalid');
      open.at(-1).add(name);
    }
  }
  return value;
}
// end
