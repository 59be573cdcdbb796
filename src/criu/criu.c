/* SPDX-License-Identifier: GPL-2.0-or-later */
extern int frem_criu_placeholder;
int frem_criu_placeholder;
