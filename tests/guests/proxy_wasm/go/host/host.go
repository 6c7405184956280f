// Package host is Proxy-Wasm by hand, as an SDK for Go has it: what is imported, how memory is given, and helpers.
package host

import (
	"encoding/binary"
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

//go:wasmimport env proxy_get_shared_data
func getShared(key address, keyLength uint32, at, length, version address) uint32

//go:wasmimport env proxy_set_shared_data
func setShared(key address, keyLength uint32, at address, length, version uint32) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func setTicks(period uint32) uint32

//go:wasmimport env proxy_define_metric
func defineMetric(kind uint32, name address, nameLength uint32, metric address) uint32

//go:wasmimport env proxy_increment_metric
func incrementMetric(metric uint32, by int64) uint32

// Maps and buffers by their numbers.
const (
	Request          = 0
	RequestTrailers  = 1
	Response         = 2
	ResponseTrailers = 3
	Answer           = 6
	RequestBody      = 0
	ResponseBody     = 1
	Configuration    = 7
)

// What a callback answers.
const (
	Continue = 0
	Pause    = 1
)

// What the host writes into is kept here until it was read.
var given = map[address][]byte{}

//go:wasmexport proxy_abi_version_0_2_1
func version() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) address {
	bytes := make([]byte, size)
	at := address(unsafe.SliceData(bytes))
	given[at] = bytes
	return at
}

// Log writes a message.
func Log(level uint32, message string) {
	proxyLog(level, text(message), size(message))
}

// Buffer reads the first bytes of a buffer.
func Buffer(buffer, most uint32) string {
	return take(func(at, length address) uint32 { return getBuffer(buffer, 0, most, at, length) })
}

// SetBuffer puts bytes in the place of some of a buffer.
func SetBuffer(buffer, start, length uint32, value string) {
	setBuffer(buffer, start, length, text(value), size(value))
}

// Pairs are all fields of a map, with the pseudo-fields.
func Pairs(fields uint32) [][2]string {
	all := take(func(at, length address) uint32 { return getPairs(fields, at, length) })
	if all == "" {
		return nil
	}
	number := func(at int) int { return int(binary.LittleEndian.Uint32([]byte(all[at : at+4]))) }
	pairs := make([][2]string, number(0))
	at := 4 + 8*len(pairs)
	for i := range pairs {
		for part := range pairs[i] {
			length := number(4 + 8*i + 4*part)
			pairs[i][part] = all[at : at+length]
			at += length + 1
		}
	}
	return pairs
}

// Value is the first of a field, and whether there is one.
func Value(fields uint32, name string) (string, bool) {
	var at address
	var length uint32
	if getValue(fields, text(name), size(name), address(&at), address(&length)) != 0 {
		return "", false
	}
	if length == 0 {
		return "", true
	}
	defer delete(given, at)
	return string(unsafe.Slice((*byte)(at), length)), true
}

// Set puts a value in the place of all that a field has.
func Set(fields uint32, name, value string) {
	replaceValue(fields, text(name), size(name), text(value), size(value))
}

// Add adds a value to a field.
func Add(fields uint32, name, value string) {
	addValue(fields, text(name), size(name), text(value), size(value))
}

// Remove removes a field.
func Remove(fields uint32, name string) {
	removeValue(fields, text(name), size(name))
}

// Property is an attribute; its path is in segments.
func Property(path ...string) string {
	joined := ""
	for i, segment := range path {
		if i > 0 {
			joined += "\x00"
		}
		joined += segment
	}
	return take(func(at, length address) uint32 { return getProperty(text(joined), size(joined), at, length) })
}

// Send answers in the upstream's place.
func Send(status uint32, body string, pairs ...[2]string) {
	fields := written(pairs...)
	sendLocalResponse(status, nil, 0, text(body), size(body), text(fields), size(fields), -1)
}

// Call asks an upstream, and answers with the token that its answer has.
func Call(upstream string, pairs ...[2]string) uint32 {
	fields, token := written(pairs...), uint32(0)
	if httpCall(text(upstream), size(upstream), text(fields), size(fields), nil, 0, nil, 0, 5000, address(&token)) != 0 {
		panic(upstream + " is granted")
	}
	return token
}

// GoOn ends the pause of the request (0) or the response (1) of a context.
func GoOn(context, kind uint32) {
	setEffectiveContext(context)
	continueStream(kind)
}

// In makes a context the one that is meant.
func In(context uint32) {
	setEffectiveContext(context)
}

// Shared reads shared data, and the number that tells whether it changed.
func Shared(key string) (string, uint32) {
	var version uint32
	value := take(func(at, length address) uint32 {
		return getShared(text(key), size(key), at, length, address(&version))
	})
	return value, version
}

// Share writes shared data; answers whether it was not changed meanwhile.
func Share(key, value string, version uint32) bool {
	return setShared(text(key), size(key), text(value), size(value), version) == 0
}

// Ticks asks for ticks.
func Ticks(milliseconds uint32) {
	setTicks(milliseconds)
}

// Counter defines a metric.
func Counter(name string) uint32 {
	var metric uint32
	if defineMetric(0, text(name), size(name), address(&metric)) != 0 {
		panic("a metric can be defined")
	}
	return metric
}

// Count adds one to a metric.
func Count(metric uint32) {
	incrementMetric(metric, 1)
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
