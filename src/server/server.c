/* SPDX-License-Identifier: GPL-2.0-or-later */
extern int frem_server_placeholder;
int frem_server_placeholder;
