// The guests of tests/tables/interfaces.txt for http-wasm, in Go with what Go itself has: what one does is its configuration,
// the name of a case.
package main

import (
	"bytes"
	"strings"
	"unsafe"
)

type address = unsafe.Pointer

//go:wasmimport http_handler enable_features
func enableFeatures(features uint32) uint32

//go:wasmimport http_handler get_config
func getConfig(at address, limit uint32) uint32

//go:wasmimport http_handler get_method
func getMethod(at address, limit uint32) uint32

//go:wasmimport http_handler get_uri
func getURI(at address, limit uint32) uint32

//go:wasmimport http_handler set_uri
func setURI(uri address, length uint32)

//go:wasmimport http_handler get_protocol_version
func getProtocolVersion(at address, limit uint32) uint32

//go:wasmimport http_handler get_source_addr
func getSourceAddress(at address, limit uint32) uint32

//go:wasmimport http_handler get_header_names
func getHeaderNames(kind uint32, at address, limit uint32) uint64

//go:wasmimport http_handler get_header_values
func getHeaderValues(kind uint32, name address, length uint32, at address, limit uint32) uint64

//go:wasmimport http_handler set_header_value
func setHeaderValue(kind uint32, name address, length uint32, value address, size uint32)

//go:wasmimport http_handler add_header_value
func addHeaderValue(kind uint32, name address, length uint32, value address, size uint32)

//go:wasmimport http_handler remove_header
func removeHeader(kind uint32, name address, length uint32)

//go:wasmimport http_handler read_body
func readBody(kind uint32, at address, limit uint32) uint64

//go:wasmimport http_handler write_body
func writeBody(kind uint32, at address, length uint32)

//go:wasmimport http_handler set_status_code
func setStatusCode(status uint32)

const (
	request          = 0
	response         = 1
	requestTrailers  = 2
	responseTrailers = 3
)

// Bits of enable_features.
const (
	bufferRequest  = 1
	bufferResponse = 2
	trailers       = 4
)

var (
	buffer [64 << 10]byte
	name   = told(getConfig)
	kept   string
	// What nothing can take away.
	memory [][]byte
)

func init() {
	features := map[string]uint32{
		"add": bufferResponse, "replace": bufferResponse, "remove": bufferResponse, "keep": bufferResponse,
		"replace-response-body": bufferResponse, "append-response": bufferResponse,
		"read": bufferRequest, "append-request": bufferRequest,
		"request-trailers": bufferRequest | trailers, "response-trailers": bufferResponse | trailers,
	}
	if features[name] != 0 {
		enableFeatures(features[name])
	}
}

func main() {}

//go:wasmexport handle_request
func handleRequest() uint64 {
	if len(values(request, "x-now")) > 0 {
		misbehave()
	}
	switch name {
	case "add":
		add(request, "x-many", "1")
		add(request, "x-many", "2")
	case "replace":
		set(request, "x-many", "one")
	case "remove":
		remove(request, "x-many")
	case "list":
		for _, known := range names(request) {
			if known == "x-many" {
				set(request, "x-listed", strings.Join(values(request, known), ","))
			}
		}
	case "deny":
		setStatusCode(403)
		write(response, "denied")
		return 0
	case "answer":
		setStatusCode(418)
		set(response, "x-by", "guest")
		add(response, "x-many", "1")
		add(response, "x-many", "2")
		write(response, "teapot")
		return 0
	case "rewrite":
		at, length := text("/other?b=2")
		setURI(at, length)
	case "facts":
		set(request, "x-method", told(getMethod))
		set(request, "x-target", told(getURI))
	case "connection":
		set(request, "x-protocol", told(getProtocolVersion))
		set(request, "x-client", told(getSourceAddress))
	case "read":
		set(response, "x-read", read(request))
	case "replace-request-body":
		write(request, "replaced")
	case "append-request":
		write(request, read(request)+"+guest")
	case "request-trailers":
		read(request)
		add(requestTrailers, "x-more", "guest")
	case "keep":
		kept = strings.Join(values(request, "x-name"), "")
	}
	return 1
}

//go:wasmexport handle_response
func handleResponse(context, isError uint32) {
	if isError != 0 {
		return
	}
	switch name {
	case "add":
		add(response, "x-origin", "guest")
	case "replace":
		set(response, "x-origin", "guest")
	case "remove":
		remove(response, "x-origin")
	case "replace-response-body":
		write(response, "replaced")
	case "append-response":
		write(response, read(response)+"+guest")
	case "response-trailers":
		add(responseTrailers, "x-more", "guest")
	case "keep":
		set(response, "x-kept", kept)
	}
}

func misbehave() {
	switch name {
	case "trap":
		panic("as asked")
	case "loop":
		for {
		}
	case "bomb":
		for {
			memory = append(memory, bytes.Repeat([]byte{1}, 1<<20))
		}
	}
}

func told(by func(at address, limit uint32) uint32) string {
	return string(buffer[:by(address(&buffer), uint32(len(buffer)))])
}

// What lies in the buffer: so many texts, each with a zero byte behind it.
func listed(found uint64) []string {
	if found>>32 == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(buffer[:uint32(found)]), "\x00"), "\x00")
}

func names(kind uint32) []string {
	return listed(getHeaderNames(kind, address(&buffer), uint32(len(buffer))))
}

func values(kind uint32, name string) []string {
	at, length := text(name)
	return listed(getHeaderValues(kind, at, length, address(&buffer), uint32(len(buffer))))
}

func set(kind uint32, name, value string) {
	at, length := text(name)
	valueAt, size := text(value)
	setHeaderValue(kind, at, length, valueAt, size)
}

func add(kind uint32, name, value string) {
	at, length := text(name)
	valueAt, size := text(value)
	addHeaderValue(kind, at, length, valueAt, size)
}

func remove(kind uint32, name string) {
	at, length := text(name)
	removeHeader(kind, at, length)
}

func read(kind uint32) string {
	var body []byte
	for {
		// A few bytes at a time.
		found := readBody(kind, address(&buffer), 4)
		body = append(body, buffer[:uint32(found)]...)
		if found>>32 == 1 {
			return string(body)
		}
	}
}

func write(kind uint32, body string) {
	at, length := text(body)
	writeBody(kind, at, length)
}

func text(text string) (address, uint32) {
	return address(unsafe.StringData(text)), uint32(len(text))
}
