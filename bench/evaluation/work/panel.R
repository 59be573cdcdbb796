# SPDX-License-Identifier: GPL-2.0-or-later
# panel.R ROUNDS: regressions and aggregates over parts of a data frame of 200 MB; a line a round.
rounds <- as.integer(commandArgs(trailingOnly = TRUE)[1])
set.seed(2008)
rows <- 4000000
panel <- data.frame(id = rep(1:4000, each = 1000), x = rnorm(rows), z = runif(rows))
panel$y <- 2 * panel$x - panel$z + rnorm(rows)
panel$w <- panel$y * panel$x
for (round in 1:rounds) {
	ids <- (round * 37) %% 3800 + 1:60
	part <- panel[(min(ids) * 1000):(max(ids) * 1000), ]
	fit <- lm(y ~ x + z + I(x^2), data = part)
	means <- tapply(part$w, part$id, median)
	cat(round, sprintf("%.15g", c(coef(fit), sum(means))), "\n")
	flush(stdout())
}
