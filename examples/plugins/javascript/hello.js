// Greets: reads the request header `x-name` and sets `x-greeting`.

const text = new TextDecoder();
const bytes = new TextEncoder();

class Plugin {
  constructor(greeting) {
    this.greeting = greeting;
  }

  // What is thrown is what is wrong with the settings, each with where.
  static create(config) {
    const { greeting } = JSON.parse(config);
    if (typeof greeting !== "string" || greeting === "") {
      throw [{ pointer: "/greeting", message: "must be a text" }];
    }
    return new Plugin(greeting);
  }

  // Nothing but this phase is called.
  declare() {
    return { phases: { request: true }, requestBody: undefined, responseBody: undefined };
  }

  onRequest(request) {
    const name = request.header("x-name");
    const greeting = `${this.greeting}, ${name ? text.decode(name) : "stranger"}`;
    request.setHeader("x-greeting", bytes.encode(greeting));
    return { tag: "proceed" };
  }

  onRequestBody() {}
  onRequestChunk() {}
  onResponse() {}
  onResponseBody() {}
  onResponseChunk() {}
  onEnd() {}
}

export const handler = { Plugin };
