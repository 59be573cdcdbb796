/* SPDX-License-Identifier: GPL-2.0-or-later */
extern int frem_track_placeholder;
int frem_track_placeholder;
