/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd.h"

int main(void)
{
	return 0;
}
