/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frem --version: the version, and what this build of it can do. */
#ifndef FREM_CMD_VERSION_H
#define FREM_CMD_VERSION_H

#include <stdbool.h>

#include "base/error.h"

int version(bool json, struct frem_error *err);

#endif
