-- What is active now counts in the hour of its stamp (milliseconds since 2000 in units of 1/2048); when an actor came and went
-- before, nobody knows any more.
INSERT INTO `history` (`at`, `subject`, `metric`, `amount`)
SELECT (946684800 + `stamp` / 2048000) / 3600 * 3600, `subject`, `metric`, count(*)
FROM `relations` WHERE `stamp` & 1 GROUP BY 1, 2, 3;
