/** Reading models: files and addresses, the metadata of a graph, and onnxruntime itself. */

import { describeSpec } from "./puzzle.js";

/** A model, or onnxruntime itself, can't be loaded. */
export class ModelError extends Error {
  name = "ModelError";
}

/** A model above this many bytes is worth a graphics card's overhead for every operator. */
const LARGE_MODEL = 4_000_000;

/**
 * A model's bytes, its spec, what its domain is, and the rules that come with it, if any.
 *
 * @param {string | URL | Uint8Array} source
 */
export async function readModel(source) {
  if (source instanceof Uint8Array) return withSpec(source, "the model");
  const bytes = await readBytes(source);
  if (!nameOf(source).endsWith(".json")) return withSpec(bytes, nameOf(source));
  const described = parseJson(new TextDecoder().decode(bytes), nameOf(source));
  if (!described.spec || !described.model) {
    throw new ModelError(`${nameOf(source)} describes no model: it lacks "spec" or "model"`);
  }
  const description = descriptionIn(described);
  const rules = described.rules ? await importRules(source, described.rules) : null;
  const { spec, groups = {}, runtime } = described;
  const graph = await readBytes(beside(source, described.model));
  return { bytes: graph, spec, groups, description, rules, integrity: runtime?.integrity };
}

function withSpec(bytes, name) {
  const metadata = readMetadata(bytes, name);
  if (metadata.trm_mode !== "step") {
    throw new ModelError(
      metadata.trm_mode
        ? `${name} is a graph of mode "${metadata.trm_mode}"; one of mode "step" is needed`
        : `${name} was not written by trm-export: it carries no description`,
    );
  }
  const spec = parseJson(metadata.trm_spec, name);
  const { domain_description: text, groups: own = "{}" } = metadata;
  const description = text ? parseJson(text, name) : describeOld(spec);
  return { bytes, spec, groups: parseJson(own, name), description, rules: null };
}

/** What `model.json` says of its domain, or what can be made of its spec. */
export function descriptionIn({ domain, spec }) {
  return domain ?? describeOld(spec);
}

function describeOld(spec) {
  return describeSpec(spec, answerTokens(spec), givenTokens(spec));
}

/** The token that each logit column stands for. */
export function answerTokens({ vocabulary, model }) {
  if (model.answer_tokens) return model.answer_tokens;
  return [...vocabulary.keys()].slice(model.output_offset ?? 0); // how older models say it
}

/** Tokens that stand in the answer as they are. */
export function givenTokens({ vocabulary, model }) {
  if (model.given_tokens) return model.given_tokens;
  const from = model.givens_from ?? null;
  return from === null ? [] : [...vocabulary.keys()].slice(from);
}

export function parseJson(text, name) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ModelError(`${name} is not valid JSON: ${firstLine(error)}`);
  }
}

/** A file beside another one. */
function beside(source, name) {
  if (isUrl(source)) return new URL(name, new URL(source, globalThis.document?.baseURI));
  return String(source).replace(/[^/\\]*$/, name);
}

/** Rules are a program: they come from the model's own folder or not at all. */
export async function importRules(source, name) {
  if (!/^[\w-]+\.m?js$/.test(name)) {
    throw new ModelError(`${nameOf(source)} names rules that are not a file beside it: ${name}`);
  }
  const place = beside(source, name);
  try {
    if (place instanceof URL) return await import(place.href);
    const { pathToFileURL } = await import("node:url");
    return await import(pathToFileURL(place).href);
  } catch (error) {
    throw new ModelError(`the domain's rules, ${place}, can't be loaded: ${firstLine(error)}`);
  }
}

/** Is this to be fetched? In a browser everything is; in Node what has a scheme of the web. */
function isUrl(source) {
  return !inNode() || /^https?:/.test(String(source));
}

function inNode() {
  return typeof process !== "undefined" && Boolean(process.versions?.node);
}

export async function readBytes(source) {
  if (!isUrl(source)) {
    const { readFile } = await import("node:fs/promises");
    try {
      return new Uint8Array(await readFile(source));
    } catch (error) {
      throw new ModelError(`${source} can't be read: ${error.code ?? error.message}`);
    }
  }
  let response;
  try {
    response = await fetch(source);
  } catch (error) {
    throw new ModelError(`${nameOf(source)} can't be fetched: ${firstLine(error)}`);
  }
  if (!response.ok) throw new ModelError(`${nameOf(source)} can't be fetched: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * The metadata of an ONNX file. onnxruntime's JavaScript API has no way to ask for it; in the file
 * it is field 14 of a Protocol Buffers message, pairs of a key (field 1) and a value (field 2).
 */
export function readMetadata(bytes, name) {
  const text = new TextDecoder();
  const metadata = {};
  try {
    for (const [field, content] of fields(bytes)) {
      if (field !== 14) continue;
      const pair = Object.fromEntries(fields(content));
      metadata[text.decode(pair[1])] = text.decode(pair[2]);
    }
  } catch (error) {
    throw new ModelError(`${name} is not an ONNX file: ${firstLine(error)}`);
  }
  return metadata;
}

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new RangeError("it ends too soon");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key % 8;
    if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new RangeError("it ends too soon");
      yield [Math.floor(key / 8), bytes.subarray(at, at + length)];
      at += length;
    } else if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else throw new RangeError(`unknown wire type ${kind}`);
  }
}

export async function chooseBackend(backend, size) {
  if (inNode()) return "cpu";
  const there = async () => Boolean(await globalThis.navigator.gpu?.requestAdapter());
  if (backend === "webgpu" && !(await there())) {
    throw new ModelError("WebGPU is unavailable in this browser; WebAssembly is there");
  }
  if (backend !== "auto") return backend;
  return size > LARGE_MODEL && (await there()) ? "webgpu" : "wasm";
}

/** What each backend's module fetches, relative to itself. */
const WASM = {
  wasm: "ort-wasm-simd-threaded.wasm",
  webgpu: "ort-wasm-simd-threaded.asyncify.wasm",
};

/**
 * Import onnxruntime.
 *
 * @param {"cpu" | "wasm" | "webgpu"} backend
 * @param {Record<string, string>} [integrity] hashes of onnxruntime-web's files. Modules are checked
 *   by the page's import map; the WebAssembly is fetched and checked here. Threads are workers, whose
 *   scripts nobody checks, so there is one.
 */
export async function importRuntime(backend, integrity) {
  try {
    if (backend === "cpu") return await import("onnxruntime-node");
    const webgpu = backend === "webgpu";
    const ort = webgpu ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web");
    if (integrity) {
      const module = import.meta.resolve(webgpu ? "onnxruntime-web/webgpu" : "onnxruntime-web");
      const options = { integrity: integrity[WASM[backend]] };
      const reply = await fetch(new URL(WASM[backend], module), options);
      if (!reply.ok) throw new Error(`${WASM[backend]}: HTTP ${reply.status}`);
      ort.env.wasm.wasmBinary = await reply.arrayBuffer();
      ort.env.wasm.numThreads = 1;
    }
    return ort;
  } catch (error) {
    throw new ModelError(
      `onnxruntime-${backend === "cpu" ? "node" : "web"} can't be loaded (npm install puts it ` +
        `there): ${firstLine(error)}`,
    );
  }
}

/**
 * Shapes of a step graph's inputs without the batch: numbers, or names where boards may have any
 * size.
 *
 * @returns {{tokens: (number | string)[], state: (number | string)[], identified: boolean,
 *   groups: string[]}} the last: keys of the groups that the graph must be given
 */
export function inputShapes(session) {
  const shapeOf = (name) => session.inputMetadata.find((input) => input.name === name)?.shape?.slice(1);
  const [tokens, state] = [shapeOf("tokens"), shapeOf("y")];
  const known = (length) => typeof length === "number" || length === "rows" || length === "columns";
  if (!tokens?.length || !state?.length || ![...tokens, ...state].every(known)) {
    throw new ModelError(
      `the graph takes ${session.inputNames.join(", ")}; a step graph takes tokens, y and z`,
    );
  }
  const groups = session.inputNames.filter((name) => name.startsWith(GROUPS));
  return {
    tokens,
    state,
    identified: session.inputNames.includes("puzzle_identifiers"),
    groups: groups.map((name) => name.slice(GROUPS.length)),
  };
}

/** What the inputs that take groups of cells are called, before their key. */
export const GROUPS = "groups.";

/**
 * Groups of cells as a graph's inputs, by key: 1 where a cell is in a group.
 *
 * @param {object} ort an onnxruntime module
 * @param {string[]} keys those that the graph takes
 * @param {Record<string, number[][]>} own the model's groups, as lists of cells
 * @param {Record<string, number[][]>} given those of a puzzle, which go before them
 * @param {number} cells of a board
 */
export function groupTensors(ort, keys, own, given, cells) {
  for (const key of Object.keys(given)) {
    if (!keys.includes(key)) {
      throw new ModelError(
        `the graph takes ${keys.length ? `groups of ${keys.join(", ")}` : "no groups"}; got ${key} ` +
          "(trm-export onnx --groups required)",
      );
    }
  }
  const feeds = {};
  for (const key of keys) {
    const groups = given[key] ?? own[key];
    if (!groups) throw new ModelError(`the graph must be given groups of ${key}`);
    const members = new Float32Array(groups.length * cells);
    groups.forEach((group, number) => {
      for (const cell of group) {
        if (!Number.isInteger(cell) || cell < 0 || cell >= cells) {
          throw new ModelError(`groups hold cells 0 to ${cells - 1}; got ${cell} in ${key}`);
        }
        members[number * cells + cell] = 1;
      }
    });
    feeds[`${GROUPS}${key}`] = new ort.Tensor("float32", members, [1, groups.length, cells]);
  }
  return feeds;
}

export function nameOf(source) {
  return source instanceof Uint8Array ? "the model" : String(source);
}

export function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0];
}
