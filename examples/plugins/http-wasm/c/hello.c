// Greets, hides secrets and refuses; see ../README.md. Written against the ABI of http-wasm with WASI's C library.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("http_handler"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(enable_features) uint32_t enable_features(uint32_t features);
IMPORT(get_config) uint32_t get_config(void *buf, uint32_t limit);
IMPORT(get_uri) uint32_t get_uri(void *buf, uint32_t limit);
IMPORT(get_header_values)
uint64_t get_header_values(uint32_t kind, const char *name, uint32_t length, void *buf, uint32_t limit);
IMPORT(set_header_value)
void set_header_value(uint32_t kind, const char *name, uint32_t length, const char *value, uint32_t size);
IMPORT(read_body) uint64_t read_body(uint32_t kind, void *buf, uint32_t limit);
IMPORT(write_body) void write_body(uint32_t kind, const void *body, uint32_t length);
IMPORT(set_status_code) void set_status_code(uint32_t status);

enum { REQUEST, RESPONSE };

static char greeting[256], buffer[65536];
static uint32_t greeting_length;

static void set(uint32_t kind, const char *name, const char *value) {
  set_header_value(kind, name, strlen(name), value, strlen(value));
}

int main(void) {
  if (enable_features(3) != 3) {
    fprintf(stderr, "the host does not buffer bodies\n");
    return 1;
  }
  greeting_length = get_config(greeting, sizeof greeting);
  return 0;
}

EXPORT(handle_request) uint64_t handle_request(void) {
  uint32_t length = get_uri(buffer, sizeof buffer);
  if (length >= 7 && memcmp(buffer, "/denied", 7) == 0) {
    set_status_code(403);
    return 0;
  }
  uint64_t values = get_header_values(REQUEST, "x-name", 6, buffer, sizeof buffer);
  if (values >> 32 > 0) {
    char text[1024];
    // The first value ends with a zero byte.
    snprintf(text, sizeof text, "%.*s, %s", (int)greeting_length, greeting, buffer);
    set(REQUEST, "x-greeting", text);
  }
  uint64_t got;
  length = 0;
  do {
    got = read_body(REQUEST, buffer + length, sizeof buffer - length);
    length += (uint32_t)got;
  } while (got >> 32 == 0 && length < sizeof buffer);
  for (uint32_t at = 0; at + 6 <= length; at++)
    if (memcmp(buffer + at, "secret", 6) == 0) memset(buffer + at, '#', 6);
  if (length > 0) write_body(REQUEST, buffer, length);
  return 1;
}

EXPORT(handle_response) void handle_response(uint32_t context, uint32_t is_error) {
  set(RESPONSE, "x-by", "http-wasm-c");
}
