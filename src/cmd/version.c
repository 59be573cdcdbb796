/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "version.h"

#include <blake3.h>
#include <curl/curl.h>
#include <zstd.h>

#include "ui.h"

/* What some builds have and others do not. */
static const struct {
	const char *name;
	int curl_bit; /* of curl_version_info(); 0: it is always there */
} features[] = {
#ifdef FREM_ACCESSED_BITS
	{"accessed-bits", 0}, /* the tracker */
#endif
	{"blake3", 0},	      {"zstd", 0}, {"http2", CURL_VERSION_HTTP2}, {"tls", CURL_VERSION_SSL},
};

#define N_FEATURES (sizeof(features) / sizeof(*features))

static bool is_built_in(size_t i, const curl_version_info_data *curl)
{
	return !features[i].curl_bit || curl->features & features[i].curl_bit;
}

static int answer_version(const curl_version_info_data *curl, struct frem_error *err)
{
	json_t *all = json_object();

	for (size_t i = 0; i < N_FEATURES; i++)
		json_object_set_new(all, features[i].name, json_boolean(is_built_in(i, curl)));
	return ui_answer(json_pack("{s:s, s:o, s:{s:s, s:s, s:s, s:s?}}", "version", FREM_VERSION,
				   "features", all, "libraries", "blake3", blake3_version(), "zstd",
				   ZSTD_versionString(), "curl", curl->version, "tls",
				   curl->ssl_version),
			 err);
}

int version(bool json, struct frem_error *err)
{
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

	if (json)
		return answer_version(curl, err);
	ui_print("frem " FREM_VERSION "\nfeatures:");
	for (size_t i = 0; i < N_FEATURES; i++)
		ui_print(" %c%s", is_built_in(i, curl) ? '+' : '-', features[i].name);
	ui_print("\nlibraries: blake3 %s, zstd %s, curl %s, %s\n", blake3_version(),
		 ZSTD_versionString(), curl->version,
		 curl->ssl_version ? curl->ssl_version : "no TLS");
	return 0;
}
