/* Hexadecimal digits. */
#ifndef SOMA_ENGINE_HEX_H
#define SOMA_ENGINE_HEX_H

/* 0 to 15, of either case; -1: it is none. */
int soma_hex_value(char c);

#endif
