/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "units.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_MAX_MS (UINT64_C(10) * 366 * 24 * 3600 * 1000)
#define RATE_MAX 1e15
#define SIZE_MAX_BYTES 1e18
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Three significant digits. v is below 999.5 except for the last unit. */
static void three_digits(double v, const char *unit, char out[UNITS_SIZE])
{
	snprintf(out, UNITS_SIZE, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, unit);
}

void units_bytes(uint64_t bytes, char out[UNITS_SIZE])
{
	static const char *const names[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes / 1000;
	size_t i = 0;

	if (bytes < 1000) {
		snprintf(out, UNITS_SIZE, "%u B", (unsigned)bytes);
		return;
	}
	while (v >= 999.5 && i + 1 < COUNT(names)) {
		v /= 1000;
		i++;
	}
	three_digits(v, names[i], out);
}

void units_rate(double bytes_per_second, char out[UNITS_SIZE])
{
	char size[UNITS_SIZE];

	if (!(bytes_per_second > 0) || bytes_per_second > 1e18)
		bytes_per_second = 0;
	units_bytes((uint64_t)(bytes_per_second + 0.5), size);
	snprintf(out, UNITS_SIZE, "%.*s/s", UNITS_SIZE - 3, size);
}

void units_duration(double ms, char out[UNITS_SIZE])
{
	unsigned long long s;

	if (!(ms > 0))
		ms = 0;
	if (ms < 999.5) {
		snprintf(out, UNITS_SIZE, "%.0f ms", ms);
		return;
	}
	if (ms < 59950) {
		snprintf(out, UNITS_SIZE, "%.*f s", ms < 9995 ? 2 : 1, ms / 1000);
		return;
	}
	s = ms < 1e17 ? (unsigned long long)(ms / 1000 + 0.5) : (unsigned long long)1e14;
	if (s < 3600)
		snprintf(out, UNITS_SIZE, "%llu min %02llu s", s / 60, s % 60);
	else if (s < 48ULL * 3600)
		snprintf(out, UNITS_SIZE, "%llu h %02llu min", s / 3600, s / 60 % 60);
	else
		snprintf(out, UNITS_SIZE, "%llu d %02llu h", s / 86400, s / 3600 % 24);
}

void units_share(uint64_t part, uint64_t whole, char out[UNITS_SIZE])
{
	double share = whole ? 100.0 * (double)part / (double)whole : 0;

	snprintf(out, UNITS_SIZE, "%.*f %%", share == 0 || share >= 99.95 ? 0 : 1, share);
}

/* Reads digits[.digits] at text: no sign, exponent, hexadecimal or blank. NULL if there is none. */
static const char *scan_decimal(const char *text, double *ret)
{
	static const char digits[] = "0123456789";
	size_t whole = strspn(text, digits), n = whole;
	double v = 0, unit = 1;

	if (!whole || whole > 18)
		return NULL;
	if (text[n] == '.') {
		size_t part = strspn(text + n + 1, digits);

		if (!part || part > 9)
			return NULL;
		n += 1 + part;
	}
	for (size_t i = 0; i < whole; i++)
		v = v * 10 + (text[i] - '0');
	for (size_t i = whole + 1; i < n; i++) {
		unit /= 10;
		v += unit * (text[i] - '0');
	}
	*ret = v;
	return text + n;
}

struct unit {
	const char *name;
	double factor;
};

static bool find_unit(const struct unit *units, size_t n, const char *name, double *ret)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(units[i].name, name) == 0) {
			*ret = units[i].factor;
			return true;
		}
	}
	return false;
}

int units_parse_duration(const char *text, uint64_t *ret_ms, struct frem_error *err)
{
	static const struct unit units[] = {
		{"ms", 1}, {"s", 1e3}, {"", 1e3}, {"m", 60e3}, {"h", 3600e3},
	};
	double v, factor;
	const char *rest = scan_decimal(text, &v);

	if (!rest || !find_unit(units, COUNT(units), rest, &factor))
		return frem_hint(err, frem_fail(err, FREM_USAGE, EINVAL, "bad duration '%s'", text),
				 "durations look like 500ms, 10s, 2m or 1h");
	if (v * factor > (double)DURATION_MAX_MS)
		return frem_fail(err, FREM_USAGE, ERANGE, "bad duration '%s'", text);
	*ret_ms = (uint64_t)(v * factor + 0.5);
	return 0;
}

static const struct unit byte_units[] = {
	{"B", 1},    {"kB", 1e3},   {"KB", 1e3},      {"MB", 1e6},
	{"GB", 1e9}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824},
};

int units_parse_size(const char *text, uint64_t *ret_bytes, struct frem_error *err)
{
	double v, factor;
	const char *rest = scan_decimal(text, &v);

	if (!rest || !find_unit(byte_units, COUNT(byte_units), rest, &factor))
		return frem_hint(err, frem_fail(err, FREM_USAGE, EINVAL, "bad size '%s'", text),
				 "sizes look like 500MB or 1.5GiB");
	if (v * factor > SIZE_MAX_BYTES)
		return frem_fail(err, FREM_USAGE, ERANGE, "bad size '%s'", text);
	*ret_bytes = (uint64_t)(v * factor + 0.5);
	return 0;
}

int units_parse_rate(const char *text, uint64_t *ret_bytes_per_second, struct frem_error *err)
{
	static const struct unit bit_units[] = {
		{"bit", 1.0 / 8},
		{"kbit", 125},
		{"Mbit", 125e3},
		{"Gbit", 125e6},
	};
	char unit[8] = "";
	double v, factor;
	const char *rest = scan_decimal(text, &v);
	size_t n;

	if (rest) {
		n = strlen(rest);
		if (n > 2 && strcmp(rest + n - 2, "/s") == 0)
			n -= 2;
		if (n < sizeof(unit))
			memcpy(unit, rest, n);
	}
	if (!rest || (!find_unit(byte_units, COUNT(byte_units), unit, &factor) &&
		      !find_unit(bit_units, COUNT(bit_units), unit, &factor)))
		return frem_hint(err, frem_fail(err, FREM_USAGE, EINVAL, "bad rate '%s'", text),
				 "rates look like 7MB/s, 32MB, 200Mbit/s or 1Gbit");
	if (v * factor < 1 || v * factor > RATE_MAX)
		return frem_fail(err, FREM_USAGE, ERANGE, "bad rate '%s'", text);
	*ret_bytes_per_second = (uint64_t)(v * factor + 0.5);
	return 0;
}

int units_parse_number(const char *text, const char *what, uint64_t least, uint64_t most,
		       uint64_t *ret, struct frem_error *err)
{
	size_t n = strspn(text, "0123456789");
	unsigned long long v;

	errno = 0;
	v = strtoull(text, NULL, 10);
	if (!n || text[n] || errno || v < least || v > most)
		return frem_fail(err, FREM_USAGE, 0,
				 "bad %s '%s': not a whole number from %llu to %llu", what, text,
				 (unsigned long long)least, (unsigned long long)most);
	*ret = v;
	return 0;
}
