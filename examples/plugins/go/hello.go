// Greets: reads the request header `x-name` and sets `x-greeting`. Written against the canonical ABI, which
// `//go:wasmimport` and `//go:wasmexport` are enough for.
package main

import (
	"encoding/json"
	"unsafe"
)

//go:wasmimport tidegate:plugin/http@0.1.0 [method]request.header
func requestHeader(request uint32, name unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport tidegate:plugin/http@0.1.0 [method]request.set-header
func requestSetHeader(request uint32, name unsafe.Pointer, nameLength uint32, value unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport tidegate:plugin/http@0.1.0 [resource-drop]request
func requestDrop(request uint32)

//go:wasmimport [export]tidegate:plugin/handler@0.1.0 [resource-new]plugin
func pluginNew(self uint32) uint32

// What the gateway hands in is allocated here, and held until the call that it belongs to is over.
var handed [][]uint64

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	block := make([]uint64, size/8+1)
	handed = append(handed, block)
	return unsafe.Pointer(&block[0])
}

func text(at unsafe.Pointer, length uint32) string {
	return string(unsafe.Slice((*byte)(at), length))
}

type settings struct {
	Greeting string `json:"greeting"`
}

// The configured plugins of this guest, by handle.
var plugins []settings

// result<plugin, list<problem>>, and one problem.
var created [3]uint32
var problem [4]uint32
var pointer, message = []byte("/greeting"), []byte("must be a text")

func offset(at unsafe.Pointer) uint32 { return uint32(uintptr(at)) }

//go:wasmexport tidegate:plugin/handler@0.1.0#[static]plugin.create
func create(config unsafe.Pointer, length uint32) unsafe.Pointer {
	var made settings
	err := json.Unmarshal([]byte(text(config, length)), &made)
	handed = nil
	if err != nil || made.Greeting == "" {
		problem = [4]uint32{offset(unsafe.Pointer(&pointer[0])), uint32(len(pointer)), offset(unsafe.Pointer(&message[0])), uint32(len(message))}
		created = [3]uint32{1, offset(unsafe.Pointer(&problem)), 1}
	} else {
		plugins = append(plugins, made)
		created = [3]uint32{0, pluginNew(uint32(len(plugins) - 1)), 0}
	}
	return unsafe.Pointer(&created)
}

// result<verdict, string>: all zeros is ok(proceed).
var proceed, result [8]uint32

// option<list<u8>>.
var header [3]uint32

//go:wasmexport tidegate:plugin/handler@0.1.0#[method]plugin.on-request
func onRequest(self, request uint32) unsafe.Pointer {
	read, set := []byte("x-name"), []byte("x-greeting")
	requestHeader(request, unsafe.Pointer(&read[0]), uint32(len(read)), unsafe.Pointer(&header))
	name := "stranger"
	if header[0]&0xff != 0 {
		name = text(unsafe.Pointer(uintptr(header[1])), header[2])
	}
	handed = nil
	value := []byte(plugins[self].Greeting + ", " + name)
	requestSetHeader(request, unsafe.Pointer(&set[0]), uint32(len(set)), unsafe.Pointer(&value[0]), uint32(len(value)), unsafe.Pointer(&result))
	requestDrop(request)
	return unsafe.Pointer(&proceed)
}

func main() {}
