/* Scripts, by Lua 5.1, with values that go back and forth as in Redis. */
#include "tests/simulation/store.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <nettle/sha1.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCRIPTS = 32 };

static lua_State *lua;
static store *running;
static struct {
    text source;
    int reference;
} known[SCRIPTS];
static int known_count;
static const char *replaced, *replacement;
static bool was_mutated;

/* ---- Values ---- */

static void
push_field(lua_State *L, const char *name, const char *bytes, size_t size)
{
    lua_newtable(L);
    lua_pushlstring(L, bytes, size);
    lua_setfield(L, -2, name);
}

static void
push_reply(lua_State *L, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        lua_pushnumber(L, (lua_Number)reply->integer);
        break;
    case REDIS_REPLY_STRING:
        lua_pushlstring(L, reply->str, (size_t)reply->len);
        break;
    case REDIS_REPLY_STATUS:
        push_field(L, "ok", reply->str, (size_t)reply->len);
        break;
    case REDIS_REPLY_ERROR:
        push_field(L, "err", reply->str, (size_t)reply->len);
        break;
    case REDIS_REPLY_ARRAY:
        lua_createtable(L, (int)reply->elements, 0);
        for (size_t i = 0; i < reply->elements; i++) {
            push_reply(L, reply->element[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    default:
        lua_pushboolean(L, 0);
    }
}

static text
text_at(lua_State *L, int index)
{
    text found;
    found.bytes = (char *)(uintptr_t)lua_tolstring(L, index, &found.size);
    return found;
}

/* What a script returned. */
static redisReply *
take_reply(lua_State *L)
{
    redisReply *reply = NULL;
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        return reply_number((long long)lua_tonumber(L, -1));
    case LUA_TSTRING:
        return reply_text(text_at(L, -1));
    case LUA_TBOOLEAN:
        return lua_toboolean(L, -1) ? reply_number(1) : reply_nil();
    case LUA_TTABLE:
        lua_getfield(L, -1, "err");
        if (lua_isstring(L, -1))
            reply = reply_error(lua_tostring(L, -1));
        lua_pop(L, 1);
        return reply ? reply : reply_nil();
    default:
        return reply_nil();
    }
}

/* ---- What scripts may call ---- */

static int
redis_call(lua_State *L)
{
    enum { WORDS = 32 };
    text words[WORDS];
    int count = lua_gettop(L);
    if (count > WORDS)
        return luaL_error(L, "too many words");
    for (int i = 0; i < count; i++)
        words[i] = text_at(L, i + 1);
    redisReply *reply = store_call(running, count, words);
    push_reply(L, reply);
    bool failed = reply->type == REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    return failed ? lua_error(L) : 1;
}

static int
redis_error_reply(lua_State *L)
{
    text words = text_at(L, 1);
    push_field(L, "err", words.bytes, words.size);
    return 1;
}

static int
redis_sha1hex(lua_State *L)
{
    struct sha1_ctx context;
    unsigned char digest[SHA1_DIGEST_SIZE];
    char hex[2 * SHA1_DIGEST_SIZE + 1];
    text words = text_at(L, 1);
    sha1_init(&context);
    sha1_update(&context, words.size, (const uint8_t *)words.bytes);
    sha1_digest(&context, sizeof digest, digest);
    for (int i = 0; i < SHA1_DIGEST_SIZE; i++)
        snprintf(hex + (ptrdiff_t)2 * i, 3, "%02x", digest[i]);
    lua_pushstring(L, hex);
    return 1;
}

static void
begin(void)
{
    lua = luaL_newstate();
    luaL_openlibs(lua);
    lua_newtable(lua);
    lua_pushcfunction(lua, redis_call);
    lua_setfield(lua, -2, "call");
    lua_pushcfunction(lua, redis_error_reply);
    lua_setfield(lua, -2, "error_reply");
    lua_pushcfunction(lua, redis_sha1hex);
    lua_setfield(lua, -2, "sha1hex");
    lua_setglobal(lua, "redis");
}

/* ---- Running ---- */

/* The source with the mutation in it, to be freed. */
static text
mutated(text source)
{
    text copy = text_copy(source);
    const char *at = replaced ? strstr(copy.bytes, replaced) : NULL;
    if (!at)
        return copy;
    was_mutated = true;
    size_t before = (size_t)(at - copy.bytes), was = strlen(replaced);
    size_t is = strlen(replacement), after = copy.size - before - was;
    text other = {malloc(copy.size + is + 1), before + is + after};
    memcpy(other.bytes, copy.bytes, before);
    memcpy(other.bytes + before, replacement, is);
    memcpy(other.bytes + before + is, at + was, after + 1);
    free(copy.bytes);
    return other;
}

/* Compiled once, and left on the stack. */
static void
push_script(text source)
{
    int i = 0;
    while (i < known_count && text_compare(known[i].source, source))
        i++;
    if (i == known_count) {
        text code = mutated(source);
        if (i == SCRIPTS ||
            luaL_loadbuffer(lua, code.bytes, code.size, "script"))
            abort();
        free(code.bytes);
        known[i].source = text_copy(source);
        known[i].reference = luaL_ref(lua, LUA_REGISTRYINDEX);
        known_count++;
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, known[i].reference);
}

static void
set_list(const char *name, int count, const text *words)
{
    lua_createtable(lua, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushlstring(lua, words[i].bytes, words[i].size);
        lua_rawseti(lua, -2, i + 1);
    }
    lua_setglobal(lua, name);
}

redisReply *
script_run(store *s, int count, const text *words)
{
    int keys = (int)text_number(words[2]);
    if (!lua)
        begin();
    running = s;
    set_list("KEYS", keys, words + 3);
    set_list("ARGV", count - 3 - keys, words + 3 + keys);
    push_script(words[1]);
    redisReply *reply;
    if (lua_pcall(lua, 0, 1, 0) && lua_isstring(lua, -1))
        reply = reply_error(lua_tostring(lua, -1));
    else
        reply = take_reply(lua);
    lua_pop(lua, 1);
    return reply;
}

static void
forget(void)
{
    for (int i = 0; i < known_count; i++) {
        free(known[i].source.bytes);
        luaL_unref(lua, LUA_REGISTRYINDEX, known[i].reference);
    }
    known_count = 0;
}

void
script_mutate(const char *was, const char *is)
{
    forget();
    replaced = was;
    replacement = is;
    was_mutated = false;
}

bool
script_was_mutated(void)
{
    return was_mutated;
}

void
script_end(void)
{
    forget();
    if (lua)
        lua_close(lua);
    lua = NULL;
}
