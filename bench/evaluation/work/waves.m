% SPDX-License-Identifier: GPL-2.0-or-later
% waves.m: a band of a large matrix is smoothed, factorized and put back; a line a round.
rand ("state", 2008);
rounds = str2num (argv (){1});
n = 5000;
A = rand (n, n);
for round = 1:rounds
  k = mod (round * 331, n - 500) + 1;
  part = A(k:k+399, k:k+399);
  [q, r] = qr (part);
  s = svd (part(1:150, 1:150));
  A(k:k+399, :) = A(k:k+399, :) * 0.5 + cumsum (A(k:k+399, :), 2) / n;
  printf ("%d %.15g %.15g\n", round, sum (abs (diag (r))), s(1));
  fflush (stdout);
end
