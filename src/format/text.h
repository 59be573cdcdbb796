/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text from outside: what is safe to keep, and how it is shown in a message. */
#ifndef FREM_FORMAT_TEXT_H
#define FREM_FORMAT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_QUOTED_SIZE 512 /* room for any job name or image file name, escaped */

/* Length of the UTF-8 character at p (Unicode 15, table 3-7), 0 if there is no valid one. */
size_t text_utf8(const char *p, size_t n, uint32_t *ret_point);
/* C0, DEL and C1: all can drive a terminal. */
bool text_is_control(uint32_t point);
/* Valid UTF-8 without control characters? */
bool text_is_plain(const char *s, size_t n);
/* Replaces each byte of s that keeps it from being plain by '?'. */
void text_make_plain(char *s);
/* 's' in quotes for a message; what is not plain is escaped as \xNN, what does not fit is cut. */
const char *text_quote(const char *s, size_t n, char out[TEXT_QUOTED_SIZE]);

#endif
