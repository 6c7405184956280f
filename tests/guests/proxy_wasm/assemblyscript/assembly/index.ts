// What ../rust does, in AssemblyScript, as far as its SDK has a way (bodies can be read there and not changed).
export * from "@solo-io/proxy-runtime/proxy";
import {
  BaseContext,
  Context,
  FilterHeadersStatusValues,
  GrpcStatusValues,
  HeaderPair,
  Headers,
  LogLevelValues,
  RootContext,
  continue_request,
  log,
  registerRootContext,
  send_local_response,
  stream_context,
} from "@solo-io/proxy-runtime";

function pair(name: string, value: string): HeaderPair {
  return new HeaderPair(String.UTF8.encode(name), String.UTF8.encode(value));
}

class Root extends RootContext {
  createContext(context_id: u32): Context {
    return new Stream(context_id, this);
  }

  onConfigure(size: u32): bool {
    if (!super.onConfigure(size) || this.getConfiguration() == "") {
      log(LogLevelValues.error, "there is no greeting");
      return false;
    }
    return true;
  }
}

class Stream extends Context {
  constructor(context_id: u32, root: Root) {
    super(context_id, root);
  }

  onRequestHeaders(fields: u32, end: bool): FilterHeadersStatusValues {
    const request = stream_context.headers.request;
    let who = request.get("x-name");
    if (who == "") {
      who = "stranger";
    }
    request.replace("x-greeting", this.root_context.getConfiguration() + ", " + who);
    request.remove("x-secret");
    request.add("x-fields", request.get_headers().length.toString());
    const path = request.get(":path");
    if (path == "/deny") {
      const body = String.UTF8.encode("Access forbidden.\n");
      send_local_response(403, "", body, [pair("powered-by", "proxy-wasm")], <GrpcStatusValues>-1);
      return FilterHeadersStatusValues.StopIteration;
    }
    if (path == "/call") {
      const head: Headers = [pair(":method", "GET"), pair(":path", "/asked"), pair(":authority", "auth.test")];
      this.root_context.httpCall("auth", head, new ArrayBuffer(0), [], 5000, this, (origin: BaseContext) => {
        const status = stream_context.headers.http_callback.get(":status");
        stream_context.headers.request.replace("x-asked", status);
        continue_request();
      });
      return FilterHeadersStatusValues.StopIteration;
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(fields: u32, end: bool): FilterHeadersStatusValues {
    stream_context.headers.response.replace("powered-by", "proxy-wasm");
    return FilterHeadersStatusValues.Continue;
  }

  onLog(): void {
    log(LogLevelValues.info, "seen");
  }
}

registerRootContext((context_id: u32) => new Root(context_id), "guest");
