// Reads one JSON string a line, each holding a document; prints JSON.stringify(JSON.parse(document))
// as a JSON string, or null for what JSON.parse refuses.
import { createInterface } from 'node:readline';

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  let printed = null;
  try {
    printed = JSON.stringify(JSON.parse(JSON.parse(line)));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  process.stdout.write(`${JSON.stringify(printed)}\n`);
}
