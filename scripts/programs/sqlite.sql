-- Rows from a fixed series; check-programs puts their number in place of @ROWS@.
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
PRAGMA temp_store = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, key INTEGER, name TEXT, price REAL, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @ROWS@)
INSERT INTO item SELECT i, i * 7919 % 1000003, 'name-' || (i * 31 % 5003), i * 17 % 1009 / 10.0,
	CASE i % 8 WHEN 0 THEN NULL ELSE substr(hex(i * 2654435761), 1, i % 24) END FROM n;
COMMIT;
CREATE INDEX item_key ON item (key);
CREATE INDEX item_name ON item (name, price);
SELECT count(*), sum(key), round(total(price), 1), count(note) FROM item;
SELECT name, count(*), round(avg(price), 3) FROM item GROUP BY name ORDER BY 3 DESC, 1 LIMIT 20;
SELECT length(group_concat(note, ',')) FROM item WHERE key % 3 = 0;
SELECT count(*) FROM item a JOIN item b ON b.id = a.key WHERE a.id % 5 = 0 AND b.price > a.price;
SELECT sum(length(json_group)) FROM (SELECT json_group_array(json_object('k', key, 'n', name)) AS json_group
	FROM item WHERE id % 4 = 0 GROUP BY key % 1000);
UPDATE item SET note = note || '-' || name WHERE id % 10 = 3;
DELETE FROM item WHERE id % 7 = 2;
SELECT count(*), sum(length(note)) FROM item;
PRAGMA integrity_check;
