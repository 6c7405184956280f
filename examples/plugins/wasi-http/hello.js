// Answers /hello itself, sends back what comes to /echo, and passes everything else on: a request to where the request at
// hand was for is what goes on along the route.

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const headers = { "x-by": "wasi-http" };
  switch (new URL(request.url).pathname) {
    case "/hello":
      return new Response("hello", { headers });
    case "/echo":
      return new Response(request.body, { headers });
    default: {
      const answer = await fetch(request.url, { headers: { "x-passed": "yes" } });
      return new Response(answer.body, { status: answer.status, headers });
    }
  }
}
