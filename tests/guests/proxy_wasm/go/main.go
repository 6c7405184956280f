// What ../rust does, in Go without an SDK.
package main

import (
	"strconv"

	"guest/host"
)

var (
	greeting string
	replaces = map[uint32]bool{}
	callers  = map[uint32]uint32{}
)

func main() {}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, root uint32) {}

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) uint32 {
	greeting = host.Buffer(host.Configuration, size)
	if greeting == "" {
		host.Log(4, "there is no greeting")
		return 0
	}
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, fields, end uint32) uint32 {
	who, found := host.Value(host.Request, "x-name")
	if !found {
		who = "stranger"
	}
	host.Set(host.Request, "x-greeting", greeting+", "+who)
	host.Remove(host.Request, "x-secret")
	host.Add(host.Request, "x-fields", strconv.Itoa(len(host.Pairs(host.Request))))
	switch path, _ := host.Value(host.Request, ":path"); path {
	case "/deny":
		host.Send(403, "Access forbidden.\n", [2]string{"powered-by", "proxy-wasm"})
		return host.Pause
	case "/call":
		token := host.Call("auth", [2]string{":method", "GET"}, [2]string{":path", "/asked"}, [2]string{":authority", "auth.test"})
		callers[token] = context
		return host.Pause
	case "/body":
		replaces[context] = true
	}
	return host.Continue
}

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(root, token, fields, body, trailers uint32) {
	status, _ := host.Value(host.Answer, ":status")
	context := callers[token]
	delete(callers, token)
	host.In(context)
	host.Set(host.Request, "x-asked", status)
	host.GoOn(context, 0)
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, fields, end uint32) uint32 {
	host.Set(host.Response, "powered-by", "proxy-wasm")
	if replaces[context] {
		host.Remove(host.Response, "content-length")
	}
	return host.Continue
}

//go:wasmexport proxy_on_response_body
func onResponseBody(context, bytes, end uint32) uint32 {
	if !replaces[context] {
		return host.Continue
	}
	if end == 0 {
		return host.Pause
	}
	host.SetBuffer(host.ResponseBody, 0, bytes, greeting+"!")
	return host.Continue
}

//go:wasmexport proxy_on_log
func onLog(context uint32) {
	host.Log(2, "seen "+host.Property("request", "path"))
}

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {
	delete(replaces, context)
}
