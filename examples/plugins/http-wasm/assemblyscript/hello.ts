// Greets, hides secrets and refuses; see ../README.md. Written against the ABI of http-wasm.

@external("http_handler", "enable_features") declare function enableFeatures(features: u32): u32;
@external("http_handler", "get_config") declare function getConfig(buf: usize, limit: u32): u32;
@external("http_handler", "get_uri") declare function getURI(buf: usize, limit: u32): u32;
@external("http_handler", "get_header_values")
declare function getHeaderValues(kind: u32, name: usize, length: u32, buf: usize, limit: u32): u64;
@external("http_handler", "set_header_value")
declare function setHeaderValue(kind: u32, name: usize, length: u32, value: usize, size: u32): void;
@external("http_handler", "read_body") declare function readBody(kind: u32, buf: usize, limit: u32): u64;
@external("http_handler", "write_body") declare function writeBody(kind: u32, body: usize, length: u32): void;
@external("http_handler", "set_status_code") declare function setStatusCode(status: u32): void;

const REQUEST: u32 = 0;
const RESPONSE: u32 = 1;
const LIMIT: u32 = 65536;

const buffer = new ArrayBuffer(LIMIT);
const at = changetype<usize>(buffer);

assert(enableFeatures(3) == 3, "the host does not buffer bodies");
const greeting = String.UTF8.decodeUnsafe(at, getConfig(at, LIMIT));

function set(kind: u32, name: string, value: string): void {
  const nameBytes = String.UTF8.encode(name);
  const valueBytes = String.UTF8.encode(value);
  setHeaderValue(
    kind,
    changetype<usize>(nameBytes), nameBytes.byteLength,
    changetype<usize>(valueBytes), valueBytes.byteLength
  );
}

export function handle_request(): u64 {
  const uri = String.UTF8.decodeUnsafe(at, getURI(at, LIMIT));
  if (uri.startsWith("/denied")) {
    setStatusCode(403);
    return 0;
  }
  const name = String.UTF8.encode("x-name");
  const values = getHeaderValues(REQUEST, changetype<usize>(name), name.byteLength, at, LIMIT);
  if (values >> 32 > 0) {
    // The first value ends with a zero byte.
    set(REQUEST, "x-greeting", greeting + ", " + String.UTF8.decodeUnsafe(at, <usize>u32(values), true));
  }
  let body = "";
  let read: u64 = 0;
  do {
    read = readBody(REQUEST, at, LIMIT);
    body += String.UTF8.decodeUnsafe(at, <usize>u32(read));
  } while (read >> 32 == 0);
  if (body.length > 0) {
    const hidden = String.UTF8.encode(body.replaceAll("secret", "######"));
    writeBody(REQUEST, changetype<usize>(hidden), hidden.byteLength);
  }
  return 1;
}

export function handle_response(context: u32, isError: u32): void {
  set(RESPONSE, "x-by", "http-wasm-assemblyscript");
}
