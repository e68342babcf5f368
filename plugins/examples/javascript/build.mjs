// node build.mjs CONTRACT.wit OUT.wasm
import { readFile, writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [contract, out] = process.argv.slice(2);
const { component } = await componentize(await readFile('detector.js', 'utf8'), {
  witPath: contract,
  worldName: 'detector',
  // A detector may import nothing of WASI.
  disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
});
await writeFile(out, component);
console.log(`${out}: ${component.length} bytes`);
