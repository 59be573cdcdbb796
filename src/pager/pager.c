/* SPDX-License-Identifier: GPL-2.0-or-later */
extern int frem_pager_placeholder;
int frem_pager_placeholder;
