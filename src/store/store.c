/* SPDX-License-Identifier: GPL-2.0-or-later */
extern int frem_store_placeholder;
int frem_store_placeholder;
