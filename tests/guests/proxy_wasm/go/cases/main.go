// The guests of tests/tables/interfaces.txt for Proxy-Wasm, in Go without an SDK: what one does is its configuration, the name
// of a case.
package main

import (
	"strconv"
	"strings"

	"guest/host"
)

var (
	// The case of each plugin: several may share a VM.
	cases  = map[uint32]string{}
	roots  = map[uint32]uint32{}
	metric uint32
	// By context.
	kept   = map[uint32]string{}
	paused = map[uint32]bool{}
	// Contexts by the token of their call.
	callers = map[uint32]uint32{}
	// What nothing can take away.
	memory [][]byte
)

func main() {}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, root uint32) {
	if root != 0 {
		roots[context] = root
	}
}

func caseOf(context uint32) string { return cases[roots[context]] }

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) uint32 {
	cases[root] = host.Buffer(host.Configuration, size)
	switch cases[root] {
	case "tick":
		host.Ticks(5)
	case "metrics":
		metric = host.Counter("seen")
	}
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, fields, end uint32) uint32 {
	if _, now := host.Value(host.Request, "x-now"); now {
		misbehave(caseOf(context))
	}
	switch caseOf(context) {
	case "add":
		host.Add(host.Request, "x-many", "1")
		host.Add(host.Request, "x-many", "2")
	case "replace":
		host.Set(host.Request, "x-many", "one")
	case "remove":
		host.Remove(host.Request, "x-many")
	case "list":
		var values []string
		for _, pair := range host.Pairs(host.Request) {
			if pair[0] == "x-many" {
				values = append(values, pair[1])
			}
		}
		host.Set(host.Request, "x-listed", strings.Join(values, ","))
	case "deny":
		host.Send(403, "denied")
		return host.Pause
	case "answer":
		host.Send(418, "teapot", [2]string{"x-by", "guest"}, [2]string{"x-many", "1"}, [2]string{"x-many", "2"})
		return host.Pause
	case "append-request":
		// It comes behind the last piece, when the head is gone.
		host.Remove(host.Request, "content-length")
	case "rewrite":
		host.Set(host.Request, ":path", "/other?b=2")
	case "facts":
		host.Set(host.Request, "x-method", host.Property("request", "method"))
		host.Set(host.Request, "x-target", host.Property("request", "path"))
	case "connection":
		host.Set(host.Request, "x-protocol", host.Property("request", "protocol"))
		host.Set(host.Request, "x-client", host.Property("source", "address"))
	case "call":
		token := host.Call("side", [2]string{":method", "GET"}, [2]string{":path", "/called"}, [2]string{":authority", "side"})
		callers[token] = context
		return host.Pause
	case "keep":
		kept[context], _ = host.Value(host.Request, "x-name")
	case "share-write":
		host.Share("note", "note", 0)
	case "share-read":
		note, _ := host.Shared("note")
		host.Set(host.Request, "x-shared", note)
	case "metrics":
		host.Count(metric)
	}
	return host.Continue
}

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(root, token, fields, body, trailers uint32) {
	from, _ := host.Value(host.Answer, "x-origin")
	context := callers[token]
	delete(callers, token)
	host.In(context)
	host.Set(host.Request, "x-called", from)
	host.GoOn(context, 0)
}

//go:wasmexport proxy_on_request_body
func onRequestBody(context, size, end uint32) uint32 {
	switch caseOf(context) {
	case "read":
		if end == 0 {
			return host.Pause
		}
		kept[context] = host.Buffer(host.RequestBody, size)
	default:
		return changed(caseOf(context), "request", host.RequestBody, size, end)
	}
	return host.Continue
}

//go:wasmexport proxy_on_response_body
func onResponseBody(context, size, end uint32) uint32 {
	return changed(caseOf(context), "response", host.ResponseBody, size, end)
}

func changed(name, side string, buffer, size, end uint32) uint32 {
	switch {
	case name == "replace-"+side+"-body" && end == 0:
		return host.Pause
	case name == "replace-"+side+"-body":
		host.SetBuffer(buffer, 0, size, "replaced")
	case name == "append-"+side && end != 0:
		host.SetBuffer(buffer, size, 0, "+guest")
	}
	return host.Continue
}

//go:wasmexport proxy_on_request_trailers
func onRequestTrailers(context, fields uint32) uint32 {
	if caseOf(context) == "request-trailers" {
		host.Add(host.RequestTrailers, "x-more", "guest")
	}
	return host.Continue
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, fields, end uint32) uint32 {
	switch caseOf(context) {
	case "add":
		host.Add(host.Response, "x-origin", "guest")
	case "replace":
		host.Set(host.Response, "x-origin", "guest")
	case "remove":
		host.Remove(host.Response, "x-origin")
	case "read":
		host.Set(host.Response, "x-read", kept[context])
	case "keep":
		host.Set(host.Response, "x-kept", kept[context])
	case "append-response":
		host.Remove(host.Response, "content-length")
	case "count":
		host.Set(host.Response, "x-count", strconv.Itoa(count()))
	case "tick":
		paused[context] = true
		return host.Pause
	}
	return host.Continue
}

func count() int {
	for {
		text, version := host.Shared("count")
		number, _ := strconv.Atoi(text)
		if host.Share("count", strconv.Itoa(number+1), version) {
			return number + 1
		}
	}
}

//go:wasmexport proxy_on_response_trailers
func onResponseTrailers(context, fields uint32) uint32 {
	if caseOf(context) == "response-trailers" {
		host.Add(host.ResponseTrailers, "x-more", "guest")
	}
	return host.Continue
}

//go:wasmexport proxy_on_tick
func onTick(root uint32) {
	for context := range paused {
		delete(paused, context)
		host.In(context)
		host.Set(host.Response, "x-ticked", "yes")
		host.GoOn(context, 1)
	}
}

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {
	delete(roots, context)
	delete(kept, context)
	delete(paused, context)
}

func misbehave(name string) {
	switch name {
	case "trap":
		panic("as asked")
	case "loop":
		for {
		}
	case "bomb":
		for {
			piece := make([]byte, 1<<20)
			for at := range piece {
				piece[at] = 1
			}
			memory = append(memory, piece)
		}
	}
}
