-- What pgbench has left, the same in any order that its clients took; then sorts, hashes and joins in memory.
SELECT count(*), sum(abalance), md5(string_agg(aid || ':' || abalance, ',' ORDER BY aid)) FROM pgbench_accounts;
SELECT sum(tbalance) FROM pgbench_tellers;
SELECT sum(bbalance) FROM pgbench_branches;
SELECT count(*), sum(delta) FROM pgbench_history;
CREATE TEMP TABLE item AS SELECT i AS id, (i::bigint * 7919 % 1000003)::int AS key, 'name-' || i * 31 % 5003 AS name,
	md5(i::text) AS hash FROM generate_series(1, :rows) AS i;
SELECT name, count(*), max(hash) FROM item GROUP BY name ORDER BY 2 DESC, 1 LIMIT 20;
SELECT md5(string_agg(hash, '' ORDER BY hash)) FROM item;
SELECT count(*), sum(a.key - b.id) FROM item a JOIN item b ON b.hash = md5(a.id::text) AND b.key % 2 = 0;
SELECT sum(length(j::text)) FROM (SELECT jsonb_agg(jsonb_build_object('k', key, 'n', name, 'h', hash)) AS j
	FROM item GROUP BY key % 500) AS grouped;
SELECT count(*) FROM item WHERE hash ~ '(a|b)[0-9]{3}(c|d)+';
SELECT sum(cardinality(regexp_split_to_array(hash, '[0-4]+'))) FROM item;
EXPLAIN (COSTS OFF) SELECT count(*) FROM item a, item b, item c WHERE a.id = b.key AND b.id = c.key;
