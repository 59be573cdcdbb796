/* SPDX-License-Identifier: GPL-2.0-or-later */
extern int frem_format_placeholder;
int frem_format_placeholder;
