/* The level of _FORTIFY_SOURCE that this compiler can do; its last line, once
 * preprocessed, is read by the Makefile. */
#ifdef __has_builtin
#if __has_builtin(__builtin_dynamic_object_size)
#define LEVEL 3
#endif
#endif
#ifndef LEVEL
#define LEVEL 2
#endif
LEVEL
