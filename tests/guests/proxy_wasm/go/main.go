// What ../rust does, in Go without an SDK: the imports and exports of Proxy-Wasm by hand, as an SDK for Go has them.
package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unsafe"
)

type address = unsafe.Pointer

//go:wasmimport env proxy_log
func proxyLog(level uint32, at address, length uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func getBuffer(buffer, start, most uint32, at, length address) uint32

//go:wasmimport env proxy_set_buffer_bytes
func setBuffer(buffer, start, size uint32, at address, length uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func getPairs(fields uint32, at, length address) uint32

//go:wasmimport env proxy_get_header_map_value
func getValue(fields uint32, name address, nameLength uint32, at, length address) uint32

//go:wasmimport env proxy_replace_header_map_value
func replaceValue(fields uint32, name address, nameLength uint32, value address, valueLength uint32) uint32

//go:wasmimport env proxy_add_header_map_value
func addValue(fields uint32, name address, nameLength uint32, value address, valueLength uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func removeValue(fields uint32, name address, nameLength uint32) uint32

//go:wasmimport env proxy_get_property
func getProperty(path address, pathLength uint32, at, length address) uint32

//go:wasmimport env proxy_send_local_response
func sendLocalResponse(status uint32, details address, detailsLength uint32, body address, bodyLength uint32, fields address, fieldsLength uint32, grpc int32) uint32

//go:wasmimport env proxy_http_call
func httpCall(upstream address, upstreamLength uint32, fields address, fieldsLength uint32, body address, bodyLength uint32, trailers address, trailersLength, timeout uint32, token address) uint32

//go:wasmimport env proxy_continue_stream
func continueStream(kind uint32) uint32

//go:wasmimport env proxy_set_effective_context
func setEffectiveContext(context uint32) uint32

var (
	greeting string
	replaces = map[uint32]bool{}
	callers  = map[uint32]uint32{}
	// What the host writes into is kept here until it was read.
	given = map[address][]byte{}
)

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func version() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) address {
	bytes := make([]byte, size)
	at := address(unsafe.SliceData(bytes))
	given[at] = bytes
	return at
}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, root uint32) {}

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) uint32 {
	greeting = take(func(at, length address) uint32 { return getBuffer(7, 0, size, at, length) })
	if greeting == "" {
		log(4, "there is no greeting")
		return 0
	}
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, fields, end uint32) uint32 {
	who, found := value(0, "x-name")
	if !found {
		who = "stranger"
	}
	set(0, "x-greeting", greeting+", "+who)
	name := "x-secret"
	removeValue(0, text(name), size(name))
	pairs := take(func(at, length address) uint32 { return getPairs(0, at, length) })
	add(0, "x-fields", strconv.Itoa(int(binary.LittleEndian.Uint32([]byte(pairs)))))
	switch path, _ := value(0, ":path"); path {
	case "/deny":
		body, fields := "Access forbidden.\n", written([2]string{"powered-by", "proxy-wasm"})
		sendLocalResponse(403, nil, 0, text(body), size(body), text(fields), size(fields), -1)
		return 1
	case "/call":
		fields := written([2]string{":method", "GET"}, [2]string{":path", "/asked"}, [2]string{":authority", "auth.test"})
		upstream, token := "auth", uint32(0)
		if httpCall(text(upstream), size(upstream), text(fields), size(fields), nil, 0, nil, 0, 5000, address(&token)) != 0 {
			panic("auth is granted")
		}
		callers[token] = context
		return 1
	case "/body":
		replaces[context] = true
	}
	return 0
}

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(root, token, fields, body, trailers uint32) {
	setEffectiveContext(callers[token])
	delete(callers, token)
	status, _ := value(6, ":status")
	set(0, "x-asked", status)
	continueStream(0)
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, fields, end uint32) uint32 {
	set(2, "powered-by", "proxy-wasm")
	if replaces[context] {
		name := "content-length"
		removeValue(2, text(name), size(name))
	}
	return 0
}

//go:wasmexport proxy_on_response_body
func onResponseBody(context, bytes, end uint32) uint32 {
	if !replaces[context] {
		return 0
	}
	if end == 0 {
		return 1
	}
	body := greeting + "!"
	setBuffer(1, 0, bytes, text(body), size(body))
	return 0
}

//go:wasmexport proxy_on_log
func onLog(context uint32) {
	path := "request\x00path"
	found := take(func(at, length address) uint32 { return getProperty(text(path), size(path), at, length) })
	log(2, fmt.Sprintf("seen %s", found))
}

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {
	delete(replaces, context)
}

func take(call func(at, length address) uint32) string {
	var at address
	var length uint32
	if call(address(&at), address(&length)) != 0 || length == 0 {
		return ""
	}
	defer delete(given, at)
	return string(unsafe.Slice((*byte)(at), length))
}

func value(fields uint32, name string) (string, bool) {
	var at address
	var length uint32
	if getValue(fields, text(name), size(name), address(&at), address(&length)) != 0 {
		return "", false
	}
	defer delete(given, at)
	return string(unsafe.Slice((*byte)(at), length)), true
}

func set(fields uint32, name, value string) {
	replaceValue(fields, text(name), size(name), text(value), size(value))
}

func add(fields uint32, name, value string) {
	addValue(fields, text(name), size(name), text(value), size(value))
}

func log(level uint32, message string) {
	proxyLog(level, text(message), size(message))
}

func text(text string) address { return address(unsafe.StringData(text)) }

func size(text string) uint32 { return uint32(len(text)) }

// Pairs as the ABI writes them.
func written(pairs ...[2]string) string {
	bytes := binary.LittleEndian.AppendUint32(nil, uint32(len(pairs)))
	for _, pair := range pairs {
		bytes = binary.LittleEndian.AppendUint32(bytes, size(pair[0]))
		bytes = binary.LittleEndian.AppendUint32(bytes, size(pair[1]))
	}
	for _, pair := range pairs {
		bytes = append(bytes, pair[0]+"\x00"+pair[1]+"\x00"...)
	}
	return string(bytes)
}
