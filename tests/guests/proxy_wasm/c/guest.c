// What ../rust does, in C with a libc for WASI: the imports and exports of Proxy-Wasm 0.2.0 by hand.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("proxy_log") int proxy_log(int level, const char *text, size_t length);
IMPORT("proxy_get_buffer_bytes") int get_buffer(int buffer, size_t start, size_t most, char **at, size_t *length);
IMPORT("proxy_set_buffer_bytes") int set_buffer(int buffer, size_t start, size_t size, const char *at, size_t length);
IMPORT("proxy_get_header_map_pairs") int get_pairs(int map, char **at, size_t *length);
IMPORT("proxy_get_header_map_value") int get_value(int map, const char *name, size_t length, char **at, size_t *size);
IMPORT("proxy_replace_header_map_value")
int replace_value(int map, const char *name, size_t length, const char *value, size_t size);
IMPORT("proxy_add_header_map_value")
int add_value(int map, const char *name, size_t length, const char *value, size_t size);
IMPORT("proxy_remove_header_map_value") int remove_value(int map, const char *name, size_t length);
IMPORT("proxy_get_property") int get_property(const char *path, size_t length, char **at, size_t *size);
IMPORT("proxy_send_local_response")
int send_local_response(int status, const char *details, size_t details_length, const char *body, size_t body_length,
                        const char *fields, size_t fields_length, int grpc);
IMPORT("proxy_http_call")
int http_call(const char *upstream, size_t upstream_length, const char *fields, size_t fields_length, const char *body,
              size_t body_length, const char *trailers, size_t trailers_length, int timeout, uint32_t *token);
IMPORT("proxy_continue_stream") int continue_stream(int kind);
IMPORT("proxy_set_effective_context") int set_effective_context(uint32_t context);

enum { REQUEST, RESPONSE = 2, CALLED = 6, CONTEXTS = 1024 };
static char *greeting;
static uint32_t callers[CONTEXTS];
static uint32_t replacing[CONTEXTS];

EXPORT("proxy_abi_version_0_2_0") void version(void) {}
EXPORT("proxy_on_memory_allocate") void *allocate(size_t size) { return malloc(size); }

// The caller frees it; nothing where it is not there.
static char *text_of(char *at, size_t length) {
  char *text = calloc(length + 1, 1);
  memcpy(text, at, length);
  free(at);
  return text;
}

static char *value(int map, const char *name) {
  char *at = NULL;
  size_t length = 0;
  return get_value(map, name, strlen(name), &at, &length) ? NULL : text_of(at, length);
}

static void set(int map, const char *name, const char *value) {
  replace_value(map, name, strlen(name), value, strlen(value));
}

static size_t put(char *to, const char **pairs, uint32_t count) {
  size_t at = 4 + 8 * count;
  memcpy(to, &count, 4);
  for (uint32_t text = 0; text < 2 * count; text++) {
    uint32_t length = strlen(pairs[text]);
    memcpy(to + 4 + 4 * text, &length, 4);
    memcpy(to + at, pairs[text], length + 1);
    at += length + 1;
  }
  return at;
}

EXPORT("proxy_on_context_create") void on_context_create(uint32_t context, uint32_t root) { (void)context, (void)root; }

EXPORT("proxy_on_configure") int on_configure(uint32_t root, size_t size) {
  char *at = NULL;
  size_t length = 0;
  (void)root;
  if (get_buffer(7, 0, size, &at, &length) || length == 0) {
    fprintf(stderr, "there is no greeting\n");
    return 0;
  }
  greeting = text_of(at, length);
  return 1;
}

EXPORT("proxy_on_request_headers") int on_request_headers(uint32_t context, size_t fields, int end) {
  char *name = value(REQUEST, "x-name"), *path = value(REQUEST, ":path"), *pairs = NULL, text[256], count[16];
  size_t length = 0;
  int action = 0;
  uint32_t number = 0;
  (void)fields, (void)end;
  snprintf(text, sizeof text, "%s, %s", greeting, name ? name : "stranger");
  set(REQUEST, "x-greeting", text);
  remove_value(REQUEST, "x-secret", 8);
  get_pairs(REQUEST, &pairs, &length);
  memcpy(&number, pairs, 4);
  snprintf(count, sizeof count, "%u", number);
  add_value(REQUEST, "x-fields", 8, count, strlen(count));
  if (strcmp(path, "/deny") == 0) {
    const char *body = "Access forbidden.\n", *fields[] = {"powered-by", "proxy-wasm"};
    send_local_response(403, NULL, 0, body, strlen(body), text, put(text, fields, 1), -1);
    action = 1;
  } else if (strcmp(path, "/call") == 0) {
    const char *fields[] = {":method", "GET", ":path", "/asked", ":authority", "auth.test"};
    uint32_t token = 0;
    if (http_call("auth", 4, text, put(text, fields, 3), NULL, 0, NULL, 0, 5000, &token)) abort();
    callers[token % CONTEXTS] = context;
    action = 1;
  } else if (strcmp(path, "/body") == 0) {
    replacing[context % CONTEXTS] = context;
  }
  free(name), free(path), free(pairs);
  return action;
}

EXPORT("proxy_on_http_call_response")
void on_http_call_response(uint32_t root, uint32_t token, size_t fields, size_t body, size_t trailers) {
  (void)root, (void)fields, (void)body, (void)trailers;
  set_effective_context(callers[token % CONTEXTS]);
  char *status = value(CALLED, ":status");
  set(REQUEST, "x-asked", status ? status : "none");
  free(status);
  continue_stream(0);
}

EXPORT("proxy_on_response_headers") int on_response_headers(uint32_t context, size_t fields, int end) {
  (void)fields, (void)end;
  set(RESPONSE, "powered-by", "proxy-wasm");
  if (replacing[context % CONTEXTS] == context) remove_value(RESPONSE, "content-length", 14);
  return 0;
}

EXPORT("proxy_on_response_body") int on_response_body(uint32_t context, size_t size, int end) {
  if (replacing[context % CONTEXTS] != context) return 0;
  if (!end) return 1;
  char text[256];
  snprintf(text, sizeof text, "%s!", greeting);
  set_buffer(1, 0, size, text, strlen(text));
  return 0;
}

EXPORT("proxy_on_log") void on_log(uint32_t context) {
  char *at = NULL, text[256];
  size_t length = 0;
  (void)context;
  if (get_property("request\0path", 12, &at, &length)) return;
  char *path = text_of(at, length);
  snprintf(text, sizeof text, "seen %s", path);
  proxy_log(2, text, strlen(text));
  free(path);
}
