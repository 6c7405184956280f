// Greets, hides secrets and refuses; see ../README.md. Written against the ABI of http-wasm with what Go itself has.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unsafe"
)

//go:wasmimport http_handler enable_features
func enableFeatures(features uint32) uint32

//go:wasmimport http_handler get_config
func getConfig(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_uri
func getURI(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_header_values
func getHeaderValues(kind uint32, name unsafe.Pointer, length uint32, buf unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler set_header_value
func setHeaderValue(kind uint32, name unsafe.Pointer, length uint32, value unsafe.Pointer, size uint32)

//go:wasmimport http_handler read_body
func readBody(kind uint32, buf unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler write_body
func writeBody(kind uint32, buf unsafe.Pointer, length uint32)

//go:wasmimport http_handler set_status_code
func setStatusCode(status uint32)

const (
	request  = 0
	response = 1
)

var (
	buffer   [64 << 10]byte
	greeting string
)

func init() {
	if enableFeatures(3) != 3 {
		fmt.Fprintln(os.Stderr, "the host does not buffer bodies")
		os.Exit(1)
	}
	greeting = string(buffer[:getConfig(unsafe.Pointer(&buffer), uint32(len(buffer)))])
}

func text(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func set(kind uint32, name, value string) {
	at, length := text(name)
	valueAt, size := text(value)
	setHeaderValue(kind, at, length, valueAt, size)
}

//go:wasmexport handle_request
func handleRequest() uint64 {
	uri := string(buffer[:getURI(unsafe.Pointer(&buffer), uint32(len(buffer)))])
	if strings.HasPrefix(uri, "/denied") {
		setStatusCode(403)
		return 0
	}
	at, length := text("x-name")
	values := getHeaderValues(request, at, length, unsafe.Pointer(&buffer), uint32(len(buffer)))
	if values>>32 > 0 {
		name, _, _ := bytes.Cut(buffer[:uint32(values)], []byte{0})
		set(request, "x-greeting", fmt.Sprintf("%s, %s", greeting, name))
	}
	var body []byte
	for {
		read := readBody(request, unsafe.Pointer(&buffer), uint32(len(buffer)))
		body = append(body, buffer[:uint32(read)]...)
		if read>>32 == 1 {
			break
		}
	}
	if hidden := bytes.ReplaceAll(body, []byte("secret"), []byte("######")); len(hidden) > 0 {
		writeBody(request, unsafe.Pointer(&hidden[0]), uint32(len(hidden)))
	}
	return 1
}

//go:wasmexport handle_response
func handleResponse(context, isError uint32) {
	set(response, "x-by", "http-wasm-go")
}

func main() {}
