# SPDX-License-Identifier: MIT
# Words of a fixed series: counted, grouped, sorted, changed. One argument: how many.
use strict;
use warnings;

my $count = shift;
my $state = 12345;

sub next_number {
	$state = ($state * 1103515245 + 12345) % 2147483648;
	return $state >> 8;
}

sub next_word {
	my $length = 2 + next_number() % 10;
	return join '', map { chr(97 + next_number() % 26) } 1 .. $length;
}

my (%seen, %by_start, @lines);
my @words = map { next_word() } 1 .. $count / 8;
for my $n (1 .. $count) {
	my $word = $words[next_number() % @words];
	$seen{$word}++;
	push @{$by_start{substr $word, 0, 3}}, { word => $word, at => $n };
	push @lines, join ' ', $word, $n, reverse split //, $word if $n % 4 == 0;
}
my @top = (sort { $seen{$b} <=> $seen{$a} || $a cmp $b } keys %seen)[0 .. 19];
print "$_ $seen{$_}\n" for @top;
my $total = 0;
for my $start (sort keys %by_start) {
	my @sorted = sort { $a->{word} cmp $b->{word} || $a->{at} <=> $b->{at} } @{$by_start{$start}};
	$total = ($total * 31 + @sorted + $sorted[0]{at}) % 1000000007;
	delete $by_start{$start} if $total % 2;
}
print "$total ", scalar(keys %by_start), "\n";
my $changed = 0;
for (@lines) {
	$changed += s/([aeiou])(\w)/<$2$1>/g || 0;
	$changed += length(my @copy = split /[ <>]/);
}
my $text = join "\n", @lines;
$changed += () = $text =~ /\b(\w+) (\d+) (\S)/g;
print "$changed ", length $text, "\n";
