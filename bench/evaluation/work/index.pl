# SPDX-License-Identifier: GPL-2.0-or-later
# index.pl DOCUMENTS QUERIES: an inverted index over generated documents, all of it in hashes and arrays,
# and queries that intersect its lists. Prints a line every hundredth query.
use strict;
use warnings;

my ($documents, $queries) = @ARGV;
my $state = 2008;

sub next_number {
	my ($below) = @_;
	$state = ($state * 1103515245 + 12345) % 2147483648;
	return int($state / 65536) % $below;
}

$| = 1;
my (%index, @length);
for my $document (0 .. $documents - 1) {
	my $words = 20 + next_number(60);
	for (1 .. $words) {
		my $word = 'w' . int((next_number(30000) * next_number(30000)) / 30000);
		$index{$word}{$document}++;
	}
	$length[$document] = $words;
}
print "documents $documents words ", scalar(keys %index), "\n";

my $sum = 0;
for my $query (1 .. $queries) {
	my ($first, @others) =
		sort { keys(%{$index{$a} // {}}) <=> keys(%{$index{$b} // {}}) }
		map { 'w' . next_number(3000) } 1 .. 3;
	my %score;
	for my $document (keys %{$index{$first} // {}}) {
		my $hits = grep { exists $index{$_}{$document} } @others;
		$score{$document} = $hits * 1000 + $index{$first}{$document} * 100 / $length[$document];
	}
	my @best = sort { $score{$b} <=> $score{$a} || $a <=> $b } keys %score;
	$sum = ($sum * 31 + ($best[0] // 0) + @best) % 1000000007;
	print "$query $sum\n" if $query % 100 == 0;
}
