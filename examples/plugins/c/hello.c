/* Greets: reads the request header `x-name` and sets `x-greeting`. Written against the canonical ABI by hand: no library,
 * no generator, and nothing imported but what it calls. */

typedef unsigned char u8;
typedef unsigned int u32;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name("tidegate:plugin/handler@0.1.0#" name)))
#define HTTP "tidegate:plugin/http@0.1.0"

typedef struct { const void *at; u32 length; } slice;

/* option<list<u8>>: whether there is a value, and where. */
typedef struct { u8 some; slice value; } optional;

IMPORT(HTTP, "[method]request.header") void request_header(u32 request, const char *name, u32 length, optional *result);
IMPORT(HTTP, "[method]request.set-header")
void request_set_header(u32 request, const char *name, u32 name_length, const void *value, u32 length, u8 *result);
IMPORT(HTTP, "[resource-drop]request") void request_drop(u32 request);
IMPORT("[export]tidegate:plugin/handler@0.1.0", "[resource-new]plugin") u32 plugin_new(u32 self);

/* What the gateway hands in goes here. Settings stay; what belongs to one call is forgotten at the next. */
static u8 memory[64 << 10];
static u32 used, kept;

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) {
    u32 at = (used + align - 1) & -align;
    (void)old, (void)old_size;
    if (size > sizeof memory || at > sizeof memory - size) __builtin_trap();
    used = at + size;
    return memory + at;
}

static void *copy(void *to, const void *from, u32 length) {
    for (u32 i = 0; i < length; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
    return (u8 *)to + length;
}

/* A configured plugin: what it greets with. There may be many in one guest. */
typedef struct { slice greeting; } plugin;

/* result<plugin, list<problem>> */
static struct { u8 is_error; union { u32 plugin; slice problems; } value; } created;
static const struct { slice pointer, message; } problem = {{"/greeting", 9}, {"must be a short text without escapes", 36}};

/* The settings are JSON: {"greeting": "..."}. Enough of a reader for that, and a problem for anything else. */
static int read_greeting(const char *json, u32 length, slice *greeting) {
    static const char key[] = "\"greeting\"";
    for (u32 at = 0; at + sizeof key - 1 <= length; at++) {
        u32 same = 0;
        while (same < sizeof key - 1 && json[at + same] == key[same]) same++;
        if (same < sizeof key - 1) continue;
        at += same;
        while (at < length && (json[at] == ' ' || json[at] == ':')) at++;
        if (at == length || json[at++] != '"') return 0;
        u32 end = at;
        while (end < length && json[end] != '"' && json[end] != '\\') end++;
        *greeting = (slice){json + at, end - at};
        return end < length && json[end] == '"' && end > at && end - at <= 200;
    }
    return 0;
}

EXPORT("[static]plugin.create") void *create(const char *config, u32 length) {
    plugin *self = cabi_realloc(0, 0, 4, sizeof *self);
    created.is_error = !read_greeting(config, length, &self->greeting);
    if (created.is_error) {
        created.value.problems = (slice){&problem, 1};
    } else {
        created.value.plugin = plugin_new((u32)self);
        kept = used;
    }
    return &created;
}

/* result<verdict, string>: all zeros is ok(proceed). */
static u32 proceed[8];

EXPORT("[method]plugin.on-request") void *on_request(plugin *self, u32 request) {
    static u8 text[512], result[8];
    optional name;
    used = kept;
    request_header(request, "x-name", 6, &name);
    if (!name.some || name.value.length > 200) name.value = (slice){"stranger", 8};
    u8 *end = copy(text, self->greeting.at, self->greeting.length);
    end = copy(end, ", ", 2);
    end = copy(end, name.value.at, name.value.length);
    request_set_header(request, "x-greeting", 10, text, (u32)(end - text), result);
    request_drop(request);
    return proceed;
}
